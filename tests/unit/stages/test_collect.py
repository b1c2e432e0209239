"""Collect: the sources' records in their order; how files are read is in tests beside this."""

from __future__ import annotations

from pathlib import Path

from feilun.core.records import SCHEMA, read_shards
from feilun.stages.collect import Collect, CollectGiven
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
