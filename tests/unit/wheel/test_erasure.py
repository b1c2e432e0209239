"""Erasing a person: nothing of theirs is left in any file, and what learnt from it is named."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from typer.testing import CliRunner

from feilun.cli.main import app
from feilun.store.blobs import ErasedBlob
from feilun.store.disk import Locked, lock
from feilun.store.events import ExchangeRow, FeedbackRow
from feilun.store.events.answers import AnswerRow
from feilun.store.events.batches import (
    CANCELLED,
    COMPLETED,
    Batch,
    BatchAdded,
    BatchEnded,
    Batches,
    BatchPiece,
)
from feilun.wheel.doctor import examine
from feilun.wheel.erasure import BatchesUnfinished, NobodyNamed, receipts
from feilun.wheel.identifiers import Identifiers, IdentifierTooShort
from feilun.wheel.project import Project
from feilun.wheel.reproduce import RowsErased, reproduce
from tests.evidence import Evidence

CANARY = "zqxjcanary"
NUMBER = "13800138000"


def residue(folder: Path, *texts: str) -> list[str]:
    """The files of the project's state that have one of the texts in their bytes, or in the
    cells of their tables (which are compressed)."""
    hits = []
    for path in sorted((folder / ".feilun").rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if content[:4] == b"PAR1":
            frame = pl.read_parquet(path)
            cells = frame.select(pl.col(pl.String)).to_dicts()
            content += json.dumps(cells, ensure_ascii=False).encode()
        if any(text.encode() in content for text in texts):
            hits.append(str(path.relative_to(folder)))
    return hits


def use_predictions(folder: Path) -> None:
    toml = folder / "feilun.toml"
    text = toml.read_text(encoding="utf-8")
    source = '[[collect.sources]]\nuse = "predictions"\n\n[train]'
    toml.write_text(
        text.replace("[train]", source) + '\n[serve.log]\nkeep = "full"\n', encoding="utf-8"
    )


@pytest.fixture
def learnt(project_folder: Path) -> Path:
    """A project in full text whose second turn learnt from what two people sent."""
    use_predictions(project_folder)
    with Project.open(project_folder) as project:
        for number in range(12):
            mine = project.predict([f"质量不错，推荐 {CANARY} {number}"], subject="ada")[0]
            project.feedback(mine.id, "correction", "负面", source="ada")
            project.feedback(mine.id, "comment", f"{CANARY} called", source="desk")
            project.predict([f"推荐 {CANARY} without feedback {number}"], subject="ada")
            other = project.predict([f"质量不错 of somebody else {number}"], subject="bob")[0]
            project.feedback(other.id, "correction", "正面", source="bob")
        project.turn()
    return project_folder


def test_nothing_of_a_person_is_left_in_any_file(learnt: Path) -> None:
    with Project.open(learnt) as project:
        before = residue(learnt, CANARY)
        assert any("blobs" in name for name in before), "the canary must be there to be erased"
        assert any("events.db" in name for name in before)
        receipt = project.erase("ada", by="tester")
        assert residue(learnt, CANARY) == []
        assert (receipt.predictions, receipt.feedback) == (24, 24)
        assert receipt.rows >= 24
        assert receipt.models == ("model/2",)
        assert receipt.sources == ()
        texts = [row["input"] for row in project.events.predictions(0)]
        assert len([text for text in texts if "somebody else" in text]) == 12
        assert receipts(project) == [receipt]
        assert "ada" not in json.dumps(receipt._asdict())
    with Project.open(learnt) as project:
        assert residue(learnt, CANARY) == []


def test_the_wheel_goes_on_and_the_next_model_knows_nothing_of_them(learnt: Path) -> None:
    with Project.open(learnt) as project:
        project.erase("ada")
        turn = project.turn()
        assert turn.verdict is not None
        assert turn.dataset is not None
        assert residue(learnt, CANARY) == []
        everything = pl.concat(
            pl.read_parquet(project.blobs.get(digest), columns=["text"])
            for split in ("train", "validation", "test", "unlabelled")
            for digest in turn.dataset.shards(split)
        )
        texts = everything["text"].to_list()
        assert sum("somebody else" in text for text in texts) >= 12
        assert not any(project.blobs.erased(d) for d in turn.dataset.files.values())
        assert turn.model is not None
        assert f"model/{project.stored(f'model/{turn.model.digest}').number}" != "model/2"


def test_what_lost_rows_says_so_and_is_not_called_damaged(learnt: Path) -> None:
    with Project.open(learnt) as project:
        assert reproduce(project, "dataset/2").same
        receipt = project.erase("ada")
        with pytest.raises(RowsErased, match=receipt.id):
            reproduce(project, "dataset/2")
        with pytest.raises(RowsErased):
            reproduce(project, "model/2")
        assert reproduce(project, "model/1").same
    shown = CliRunner().invoke(app, ["show", "dataset/2", "-C", str(learnt)])
    assert receipt.id in shown.output
    findings = {finding.what: finding for finding in examine(learnt)}
    files = findings["stored files"]
    assert files.well, files.seen
    assert "erasure" in files.seen


def test_a_text_is_found_however_it_was_written(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        written = (
            "电话 138-0013 8000 谢谢",
            "１３８００１３８０００",
            "call 13800138000",
            "13900139000",
        )
        ids = [answer.id for answer in project.predict(list(written))]
        project.feedback(ids[3], "comment", f"really {NUMBER}", source="x")
        receipt = project.erase(texts=[NUMBER])
        assert (receipt.predictions, receipt.feedback) == (3, 1)
        left = [row["input"] for row in project.events.predictions(0) if row["kept"] == "vault"]
        assert left == ["13900139000"]


def test_rows_from_outside_are_named_for_they_would_come_back(learnt: Path) -> None:
    with Project.open(learnt) as project:
        receipt = project.erase(texts=["excellent lamp"])
        assert dict(receipt.sources).keys() == {"reviews.csv"}
        assert receipt.models == ("model/1", "model/2")
        assert receipt.live
        assert residue(learnt, "excellent lamp") == []
        project.turn()
        assert residue(learnt, "excellent lamp") == [], "an unchanged source is not read again"


def test_an_erasure_is_repeated_after_a_kill(learnt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from feilun.wheel import erasure

    with Project.open(learnt) as project:

        def killed(*_given: Any) -> Any:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(erasure, "remove", killed)
            with pytest.raises(KeyboardInterrupt):
                project.erase("ada")
        receipt = project.erase("ada")
        assert receipt.models == ("model/2",), "the first try's files count, too"
        assert (receipt.predictions, receipt.feedback) == (24, 24)
        assert residue(learnt, CANARY) == []


def test_a_number_that_a_turn_went_by_is_not_given_away_again(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        answer = project.predict(["好"], subject="ada")[0]
        project.feedback(answer.id, "correction", "正面")
        newest = project.events.newest()
        project.erase("ada")
        assert project.events.newest() == newest
        kept = project.events.predictions(0)
        assert [(row["input"], row["label"], row["subject"]) for row in kept] == [("", None, None)]
        other = project.predict(["好"])[0]
        project.feedback(other.id, "correction", "正面")
        assert project.events.newest() == newest + 1


def test_keys_of_the_vault_go_with_their_owner(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        project.predict(["one"], subject="ada")
        project.predict(["two"], subject="ada")
        project.predict(["three"], subject="bob")
        assert project.erase("ada").keys == 2
        assert [row["input"] for row in project.events.predictions(0)] == ["three"]


@pytest.mark.parametrize("text", ["138", "张", "a b", ""])
def test_what_names_nobody_is_refused(text: str, project_folder: Path) -> None:
    with Project.open(project_folder) as project, pytest.raises(IdentifierTooShort):
        project.erase(texts=[text])


def test_an_erasure_needs_somebody_and_no_turn_beside_it(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        with pytest.raises(NobodyNamed):
            project.erase()
        with (
            lock(project.folder / "turn.lock", what="a turn"),
            pytest.raises(Locked),
        ):
            project.erase("ada")


def test_a_file_that_went_whole_is_told(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        digest = project.blobs.put(f"notes on {CANARY}".encode())
        project.erase(texts=[CANARY])
        with pytest.raises(ErasedBlob):
            project.blobs.get(digest)
        assert digest not in set(project.blobs.digests())


def test_the_command_prints_the_receipt(project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        project.predict(["好"], subject="ada")
    said = CliRunner().invoke(app, ["erase", "ada", "-C", str(project_folder), "--json"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["predictions"] == 1
    said = CliRunner().invoke(app, ["erase", "ada", "-C", str(project_folder)])
    assert said.exit_code == 0, said.output


def test_two_han_name_somebody() -> None:
    names = Identifiers(["李雷"])
    assert names.within(pl.Series(["我叫李 雷", "韩梅梅", None])).to_list() == [True, False, False]


def test_an_unfinished_batch_is_waited_for(trained_project: Project) -> None:
    """Its inputs stand in a file of their own, in the clear."""
    mine = trained_project.predict([f"推荐 {CANARY}"], subject="ada")[0]
    batch = Batch("b_1", "local", 0.0, "classify", 1, 10, "00" * 32)
    trained_project.events.record([BatchAdded(batch, 4)])
    with pytest.raises(BatchesUnfinished, match="1 batch"):
        trained_project.erase("ada")
    kept = [row["id"] for row in trained_project.events.predictions(0.0)]
    assert kept == [mine.id], "nothing is erased by halves"
    trained_project.events.record([BatchEnded("b_1", CANCELLED, 1.0)])
    assert trained_project.erase("ada").predictions == 1


# Everything a person can leave behind, erased and then searched for byte by byte


class Traces(NamedTuple):
    """What stands in files of one person: texts, their name and its digest, ids, sealed texts and
    the ids of the keys that open those."""

    texts: tuple[str, ...]

    def found(self, folder: Path) -> dict[str, int]:
        """The files that have some of it, with how many of them."""
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if content[:4] == b"PAR1":
                    cells = pl.read_parquet(path).select(pl.col(pl.String)).to_dicts()
                    content += json.dumps(cells, ensure_ascii=False).encode()
                if count := sum(text.encode() in content for text in self.texts):
                    found[str(path.relative_to(folder))] = count
        return found


def use_all_sources(folder: Path, keep: str) -> None:
    toml = folder / "feilun.toml"
    sources = (
        '[[collect.sources]]\nuse = "predictions"\n\n'
        '[[collect.sources]]\nuse = "gateway"\nlabels = ["正面", "负面"]\n\n[train]'
    )
    text = toml.read_text(encoding="utf-8").replace("[train]", sources)
    toml.write_text(text + f'\n[serve.log]\nkeep = "{keep}"\n', encoding="utf-8")


def live_through(project: Project, name: str, word: str, number: int) -> list[str]:
    """Everything that the log can hold of a person; the ids of it. No row of theirs says who
    they are but by `subject` and `source`; `word` stands in every text."""
    text = f"质量不错，推荐 {word} {number}"
    whom = project.privacy.digest(name)
    said, more = project.predict([text, f"好 {word} {number} again"], subject=name)
    ids = [said.id, more.id, project.feedback(said.id, "correction", "负面", source=name)]
    comment = FeedbackRow(more.id, time.time(), "comment", f"{word} called", "desk", "k")
    ids += project.events.record([comment._replace(subject=whom)])
    messages = json.dumps([{"role": "user", "content": text}], ensure_ascii=False)
    chat = f"chat_{word}{number}"
    asked = f"{text} in a chat"
    row = ExchangeRow(
        chat, time.time(), "k", "m", "m", messages, asked, "正面", "answered", subject=whom
    )
    note = FeedbackRow(chat, time.time(), "comment", f"{word} was wrong", "desk", "k")
    ids += project.events.record([row, note])
    answer = json.dumps({"results": [{"id": said.id}, {"id": more.id}]}).encode()
    project.events.record([AnswerRow(f"{word}{number}", "digest", answer, time.time())])
    return ids


def in_one_batch(project: Project, ids: dict[str, list[str]]) -> None:
    """Results of several people in one row, as a piece of a batch has them."""
    lines = [
        json.dumps({"custom_id": name, "id": one}) for name, all_ in ids.items() for one in all_
    ]
    batch = Batch("b_1", "k", time.time(), "classify", len(lines), 10, "00" * 32)
    project.events.record([BatchAdded(batch, 4)])
    content = "".join(line + "\n" for line in lines)
    project.events.record([BatchPiece("b_1", 0, len(lines), 0, content)])
    project.events.record([BatchEnded("b_1", COMPLETED, time.time())])


ADA, BOB = "ada.zqxj@example.org", "bob.zqxj@example.org"
TABLES = ("feedback", "predictions", "exchanges", "answers", "vault", "batch_results")


def traces_of(project: Project, name: str, word: str, ids: list[str]) -> Traces:
    whom = project.privacy.digest(name)
    texts = {name, word, whom, *ids}
    with closing(sqlite3.connect(project.folder / "events.db")) as log:
        mine = "subject = ? AND kept = 'vault'"
        for query in (
            f"SELECT input FROM predictions WHERE {mine}",
            f"SELECT value FROM feedback WHERE {mine}",
            "SELECT id FROM vault WHERE subject = ?",
        ):
            texts |= {row[0].strip('"') for row in log.execute(query, (whom,))}
    return Traces(tuple(texts))


def of_others(project: Project) -> dict[str, Any]:
    """What must stay: how much there is, and that it opens."""
    others = [row for row in project.events.predictions(0) if "zqxjbob" in row["input"]]
    records = project.get("records/latest").shards("records")
    texts = pl.concat(pl.read_parquet(project.blobs.get(shard)) for shard in records)["text"]
    return {
        "predictions": sorted((row["id"], row["input"], row["label"]) for row in others),
        "feedback": sum(
            row["input"].count("zqxjbob") for row in project.events.latest_feedback(99)
        ),
        "records": sorted(texts.filter(texts.str.contains("zqxjbob")).to_list()),
        "results": [one.count(BOB) for one in Batches(project.events.database).results("b_1")],
    }


@pytest.mark.parametrize("keep", ["full", "vault"])
def test_nothing_of_one_is_left_and_everything_of_the_other(
    project_folder: Path, tmp_path: Path, keep: str, evidence: Evidence
) -> None:
    use_all_sources(project_folder, keep)
    with Project.open(project_folder) as project:
        ids: dict[str, list[str]] = {ADA: [], BOB: []}
        for number in range(6):
            ids[ADA] += live_through(project, ADA, CANARY, number)
            ids[BOB] += live_through(project, BOB, "zqxjbob", number)
        in_one_batch(project, ids)
        project.turn()
        ada = traces_of(project, ADA, CANARY, ids[ADA])
        before, files = ada.found(project_folder), of_others(project)
        num_files = sum(path.is_file() for path in project_folder.rglob("*"))
        assert any("events.db" in name for name in before)
        assert any("blobs" in name for name in before)
        assert len(files["records"]) >= 18, "answers, chats and feedback were learnt from"
    deleted = Path(shutil.copytree(project_folder, tmp_path / "deleted"))
    with Project.open(project_folder) as project:
        receipt = project.erase(ADA, by="tester")
        assert ada.found(project_folder) == {}
        assert of_others(project) == files
        assert receipt.sources == (), "what the gateway logged did not come from outside"
        assert (receipt.predictions, receipt.feedback) == (12, 18)
    told, left = f"log kept as `{keep}`", len(ada.found(project_folder))
    evidence(
        27,
        f"{told}: {len(ada.texts)} texts, ids, names, sealed texts and keys of one person stood in "
        f"{len(before)} of {num_files} files, after the erasure in {left}; of somebody else "
        f"{len(files['predictions'])} predictions, {files['feedback']} feedbacks and "
        f"{len(files['records'])} records to learn from are as they were",
    )
    # The control: who only deletes the rows leaves them in the file's free pages and in blobs.
    with closing(sqlite3.connect(deleted / ".feilun" / "events.db")) as log, log:
        # SQLite's own default, which some builds of it change.
        log.execute("PRAGMA secure_delete = OFF")
        for table in TABLES:
            log.execute(f"DELETE FROM {table} WHERE rowid > 0")
    found = ada.found(deleted)
    assert any("events.db" in name for name in found)
    assert any("blobs" in name for name in found)
    evidence.control(
        27,
        f"{told}, its rows only deleted with SQL: the same search finds the person in "
        f"{len(found)} files",
    )
