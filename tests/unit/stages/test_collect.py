"""Collect: the sources' records in their order; how files are read is in tests beside this."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import polars as pl
import pytest

from feilun.core.artifacts import Records
from feilun.core.records import SCHEMA, read_shards
from feilun.stages.collect import Collect, CollectGiven
from feilun.stages.collect.source import Piece, Source
from tests.unit.stages.scratch import records, scratch


def test_sources_come_in_their_order_and_feedback_last(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nfirst text,x\n")
    (tmp_path / "b.txt").write_text("second text\n")
    stage = Collect.model_validate(
        {"sources": [{"use": "files", "path": "b.txt"}, {"use": "files", "path": "a.csv"}]}
    )
    run = scratch(tmp_path)
    feedback = records([("from a user", "x", "feedback")], run)
    feedback = feedback.model_copy(update={"sources": {"feedback": 1}})
    made = stage.run(CollectGiven(feedback), run)
    frame = read_shards([run.file(digest) for digest in made.shards("records")])
    assert frame.schema == SCHEMA
    assert frame["text"].to_list() == ["second text", "first text", "from a user"]
    assert made.sources == {"b.txt": 1, "a.csv": 1, "feedback": 1}
    assert made.parents == (feedback.digest,)
    assert stage.inputs(CollectGiven(feedback), tmp_path).keys() == {
        "source.0",
        "source.1",
        "feedback",
    }
    assert stage.run(CollectGiven(feedback), run).digest == made.digest


class Growing(Source):
    """Gives what was put into `ROWS`, chunk by chunk, once; then it is gone."""

    use: ClassVar[str] = "growing"
    accumulates: ClassVar[bool] = True
    incidental: ClassVar[frozenset[str]] = frozenset({"token"})
    url: str = "https://example.org"
    token: str = "env:ONE"

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        chunks = [pl.DataFrame({"text": texts, "row": range(len(texts))}) for texts in ROWS]
        yield Piece("growing", f"{since}.{ROWS}", lambda _bad: iter(chunks), lambda: str(ROWS))


ROWS: list[list[str]] = []


def grown(
    folder: Path, previous: Records | None, same_code: bool = True, **settings: str
) -> tuple[Records, list[str]]:
    run = scratch(folder)
    turn = 1 if previous is None else 2
    stage = Collect(sources=(Growing(**settings),))
    made = stage.run(CollectGiven(None, previous, turn, same_code), run)
    files = [run.file(digest) for digest in made.shards("records")]
    return made, read_shards(files)["text"].to_list()


def test_what_a_source_gave_stays_through_a_new_version_and_a_new_key(tmp_path: Path) -> None:
    ROWS[:] = [["old"]]
    first, _texts = grown(tmp_path, None)
    ROWS[:] = [["new", "old"]]
    assert grown(tmp_path, first)[1] == ["old", "new"]
    assert grown(tmp_path, first, same_code=False)[1] == ["old", "new"]
    assert grown(tmp_path, first, token="env:TWO")[1] == ["old", "new"]
    other = grown(tmp_path, first, url="https://example.com")[1]
    assert other == ["new", "old"], "another source has another past"


@pytest.mark.parametrize("chunks", [[["好", "好", "坏"]], [["好"], ["好"], ["坏"]]])
def test_two_rows_of_one_reading_are_two_wherever_a_chunk_ends(
    chunks: list[list[str]], tmp_path: Path
) -> None:
    ROWS[:] = chunks
    first, texts = grown(tmp_path, None)
    assert texts == ["好", "好", "坏"]
    assert grown(tmp_path, first)[0].num_rows == 3, "the same again counts once"


def test_a_file_is_read_again_when_feilun_has_changed(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("text,label\na,b\n", encoding="utf-8")
    stage = Collect.model_validate({"sources": [{"use": "files", "path": "x.csv"}]})
    first = stage.run(CollectGiven(None), scratch(tmp_path))
    forged = first.pieces[0].model_copy(update={"num_rows": 7})
    previous = first.model_copy(update={"pieces": (forged,)})
    again = stage.run(CollectGiven(None, previous, 2), scratch(tmp_path))
    assert again.num_rows == 7, "it is not read again while nothing has changed"
    fresh = stage.run(CollectGiven(None, previous, 2, same_code=False), scratch(tmp_path))
    assert fresh.num_rows == 1
