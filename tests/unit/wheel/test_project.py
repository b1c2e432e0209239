"""The project: turns that reuse and go on, predictions, feedback that comes back, rollback."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import feilun
from feilun.core.artifacts import Records
from feilun.core.errors import FeilunError
from feilun.core.refs import Ref
from feilun.store.blobs import BlobMissing, DamagedBlob
from feilun.store.control import ArtifactNotFound
from feilun.store.disk import Locked, lock
from feilun.store.events import IdempotencyReused, PredictionNotFound
from feilun.wheel.doctor import examine
from feilun.wheel.exchange import export_feedback, import_feedback
from feilun.wheel.predictions import BadFeedback, NothingLive
from feilun.wheel.project import NothingBefore, Project
from feilun.wheel.reproduce import NotMadeHere, reproduce
from feilun.wheel.runner import fingerprint
from feilun.wheel.workspace import ProjectNotFound

GOOD, BAD = "excellent phone, fast delivery", "terrible phone, broke after a day"


def settle(project: Project, old: str, new: str) -> Project:
    """The project after an edit of its settings."""
    path = project.root / "feilun.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    project.close()
    return Project.open(project.root)


# Turns


def test_a_second_turn_over_the_same_data_does_nothing_again(trained_project: Project) -> None:
    first = trained_project.turns()[0]
    second = trained_project.turn()
    assert second.number == 2
    # What is live now is compared with: only the frozen test makes a difference.
    assert {s.stage: s.reused for s in second.steps}["collect"]
    assert second.records == first.records
    assert second.verdict is not None
    assert not second.verdict.released
    third = trained_project.turn()
    assert all(step.reused for step in third.steps if step.stage != "release")


def test_a_turn_stops_where_it_is_asked_to_and_goes_on_from_there(trained_project: Project) -> None:
    project = settle(
        trained_project, 'architecture = "ngram"', 'architecture = "ngram"\nmodel.bits = 14'
    )
    part = project.turn(until="prepare")
    assert (part.number, part.status, part.model, part.verdict) == (2, "open", None, None)
    assert [step.stage for step in part.steps] == ["collect", "prepare"]
    whole = project.turn()
    assert (whole.number, whole.status) == (2, "done")
    assert {s.stage for s in whole.steps if s.reused} == {"collect", "prepare"}
    project.close()


def test_a_failed_turn_is_kept_with_its_error_and_goes_on_once_mended(
    trained_project: Project,
) -> None:
    data = trained_project.root / "reviews.csv"
    content = data.read_bytes()
    data.unlink()
    with pytest.raises(FeilunError, match="is not there"):
        trained_project.turn()
    failed = trained_project.turns()[0]
    assert (failed.number, failed.status) == (2, "failed")
    assert "reviews.csv" in (failed.error or "")
    data.write_bytes(content)
    again = trained_project.turn()
    assert (again.number, again.status, again.error) == (2, "done", None)


def test_two_writers_are_one_too_many(trained_project: Project) -> None:
    with lock(trained_project.folder / "turn.lock", what="x"), pytest.raises(Locked):
        trained_project.turn()
    assert trained_project.turns()[0].number == 1, "no turn was begun"


def test_feedback_flows_into_the_next_dataset_but_never_into_its_test(
    trained_project: Project,
) -> None:
    test = trained_project.get("dataset/latest").files["test.parquet"]  # type: ignore[attr-defined]
    said = [f"全新的句子 第{chr(0x4E00 + n)}句" for n in range(30)]
    answers = trained_project.predict(said)
    for answer in answers:
        trained_project.feedback(answer.id, "correction", "负面", source="a user")
    frozen = pl.read_parquet(trained_project.blobs.get(test))["text"][0]
    trained_project.feedback(trained_project.predict([frozen])[0].id, "rating", True)
    turn = trained_project.turn()
    assert turn.dataset is not None
    assert turn.dataset.files["test.parquet"] == test
    sides = {
        name: pl.read_parquet(trained_project.blobs.get(turn.dataset.files[f"{name}.parquet"]))
        for name in ("train", "validation")
    }
    learned = sides["train"].filter(pl.col("source") == "feedback")
    assert sorted(learned["text"]) == sorted(said)
    assert set(learned["label"]) == {"负面"}
    assert "feedback" not in set(sides["validation"]["source"])
    assert turn.dataset.dropped.get("in_test", 0) + turn.dataset.dropped.get("duplicate", 0) >= 1
    assert next(step.stage for step in turn.steps) == "feedback"


def test_the_fingerprint_changes_with_every_input(
    trained_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = trained_project.settings.train
    marks = {fingerprint(stage, {"dataset": "a", "seed": "0"})}
    marks.add(fingerprint(stage, {"dataset": "b", "seed": "0"}))
    marks.add(fingerprint(stage, {"dataset": "a", "seed": "1"}))
    marks.add(
        fingerprint(stage.model_copy(update={"metric": "macro_f1"}), {"dataset": "a", "seed": "0"})
    )
    marks.add(fingerprint(trained_project.settings.evaluate, {"dataset": "a", "seed": "0"}))
    monkeypatch.setattr("feilun.wheel.runner.code_version", lambda: "other")
    marks.add(fingerprint(stage, {"dataset": "a", "seed": "0"}))
    assert len(marks) == 6


def test_a_summary_is_json_and_a_notebook_escapes_what_users_wrote(
    trained_project: Project,
) -> None:
    summary = trained_project.turns()[0].summary()
    assert json.loads(json.dumps(summary)) == summary
    assert summary["released"] is True
    row = trained_project.turns()[0]._replace(status="failed", verdict=None, error="<script>&")
    assert "<script>" not in row._repr_html_()
    assert "&lt;script&gt;&amp;" in row._repr_html_()
    assert "<table" in trained_project._repr_html_()
    assert trained_project.release is not None
    assert trained_project.release.model.short in trained_project._repr_html_()


# Artifacts and what is live


def test_artifacts_are_had_by_name_and_put_back_as_one(trained_project: Project) -> None:
    model = trained_project.get("model/live")
    assert trained_project.get("model/1") == trained_project.get(f"model/{model.digest}") == model
    assert trained_project.put(model) == model
    assert trained_project.stored("model/latest").number == 1
    with pytest.raises(ArtifactNotFound):
        trained_project.get("dataset/live")
    with pytest.raises(BlobMissing):
        trained_project.put(Records(files={"records.parquet": "0" * 64}, num_rows=1))


def release_another(project: Project) -> None:
    """Makes a second model live, as a released turn would."""
    changed = settle(project, 'architecture = "ngram"', 'architecture = "ngram"\nmodel.bits = 14')
    turn = changed.turn(until="train")
    assert turn.model is not None
    live = changed.release
    assert live is not None
    reason = '{"template": "by a test", "values": {}}'
    changed.control.move_alias(
        "live", turn.model.digest, expected=live.model.digest, by="me", reason=reason
    )
    changed.close()


def test_rolling_back_returns_to_what_was_live_and_is_written_down(project_folder: Path) -> None:
    release_another(Project.open(project_folder))
    with Project.open(project_folder) as project:
        one, two = project.history()[1].digest, project.history()[0].digest
        assert project.rollback(by="tester").model.digest == one
        assert [row.digest for row in project.history()] == [one, two, one]
        assert project.release is not None
        assert (project.release.by, project.release.reason) == ("tester", "rolled back by hand")
        assert project.predict([GOOD])[0].label


def test_rolling_back_to_a_damaged_model_moves_nothing(project_folder: Path) -> None:
    release_another(Project.open(project_folder))
    with Project.open(project_folder) as project:
        before = project.history()
        old = project.model(Ref("model", before[1].digest))
        digest = max(old.files.values(), key=lambda d: project.blobs.path(d).stat().st_size)
        project.blobs.path(digest).write_bytes(b"damaged")
        with pytest.raises(DamagedBlob):
            project.rollback()
        assert project.history() == before


def test_without_an_earlier_model_there_is_no_way_back(
    trained_project: Project, tmp_path: Path
) -> None:
    with pytest.raises(NothingBefore):
        trained_project.rollback()
    shutil.rmtree(trained_project.folder)
    with Project.open(trained_project.root) as empty:
        with pytest.raises(NothingLive):
            empty.rollback()
        with pytest.raises(NothingLive):
            empty.predict(["x"])
        assert empty.release is None
        assert "feilun" not in empty._repr_html_()
    with pytest.raises(ProjectNotFound):
        feilun.open(str(tmp_path))


# Predictions and feedback


def test_predictions_are_logged_with_ids_unless_told_not_to(trained_project: Project) -> None:
    before = trained_project.events.counts()["predictions"]
    answers = trained_project.predict([GOOD, BAD, "", "！！", "a\ud800b"])
    assert [a.label for a in answers[:4]] == ["正面", "负面", None, None]
    assert [a.reason for a in answers[2:4]] == ["empty", "empty"]
    assert all(math.isclose(sum(a.scores.values()), 1, abs_tol=1e-5) for a in answers)
    rows = {row["id"]: row for row in trained_project.events.predictions(0)}
    assert all(a.id in rows for a in answers)
    assert rows[answers[4].id]["input"] == "a?b"
    assert len({rows[a.id]["request"] for a in answers}) == 1
    quiet = trained_project.predict([GOOD], log=False)
    assert quiet[0].id == ""
    assert trained_project.events.counts()["predictions"] == before + 5
    assert trained_project.predict([]) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("rating", 1.5),
        ("rating", -1),
        ("rating", "true"),
        ("rating", float("nan")),
        ("rating", None),
        ("correction", ""),
        ("correction", "  "),
        ("correction", 1),
        ("correction", "x" * 10_001),
        ("comment", True),
        ("outcome", None),
        ("outcome", []),
        ("outcome", ""),
        ("outcome", float("inf")),
        ("guess", "x"),
        ("", "x"),
    ],
)
def test_feedback_whose_value_does_not_fit_is_refused(
    kind: str, value: Any, trained_project: Project
) -> None:
    with pytest.raises(BadFeedback) as caught:
        trained_project.feedback("p_x", kind, value)
    assert caught.value.remedy


def test_feedback_of_every_kind_is_kept_once(trained_project: Project) -> None:
    answer = trained_project.predict([GOOD])[0]
    for kind, value in (
        ("rating", True),
        ("rating", 0),
        ("rating", 0.5),
        ("correction", "负面"),
        ("outcome", 10**30),
        ("outcome", "退货"),
        ("outcome", False),
        ("comment", "bad \ud800 bytes"),
    ):
        trained_project.feedback(answer.id, kind, value, idempotency_key=f"{kind}{value}")
        trained_project.feedback(answer.id, kind, value, idempotency_key=f"{kind}{value}")
    assert trained_project.events.counts()["feedback"] == 8
    with pytest.raises(IdempotencyReused):
        trained_project.feedback(answer.id, "rating", False, idempotency_key="ratingTrue")
    for identity in ("p_nothing", "", "\ud800"):
        with pytest.raises(PredictionNotFound):
            trained_project.feedback(identity, "rating", True)


ODD_VALUES: list[tuple[str, Any]] = [
    ("correction", "负面"),
    ("correction", "-1"),
    ("correction", "+1"),
    ("correction", "=x"),
    ("correction", "'=x"),
    ("correction", "'quoted'"),
    ("correction", '@a, "b"\nc'),
    ("outcome", "3"),
    ("outcome", 3),
    ("outcome", -3),
    ("outcome", "true"),
    ("outcome", True),
    ("outcome", '"q"'),
    ("rating", 0.5),
    ("rating", True),
    ("comment", "true"),
    ("comment", "\tx"),
]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_feedback_survives_a_round_trip_through_a_file(form: str, trained_project: Project) -> None:
    answer = trained_project.predict([GOOD])[0]
    for kind, value in ODD_VALUES:
        trained_project.feedback(answer.id, kind, value, source="round, trip")
    path = trained_project.root / f"feedback.{form}"
    assert export_feedback(trained_project, path) == len(ODD_VALUES)
    result = import_feedback(trained_project, path)
    assert (result.added, result.refused) == (len(ODD_VALUES), [])
    rows = trained_project.events.feedback_through(2**62)[len(ODD_VALUES) :]
    assert [(row["kind"], row["value"]) for row in rows] == ODD_VALUES
    assert {row["source"] for row in rows} == {"round, trip"}
    before = trained_project.events.counts()
    assert import_feedback(trained_project, path).refused == []
    assert trained_project.events.counts() == before, "a second import adds nothing"


def test_rows_that_do_not_fit_are_named_and_the_others_are_in(trained_project: Project) -> None:
    answer = trained_project.predict([GOOD])[0]
    path = trained_project.root / "in.csv"
    path.write_text(
        f"prediction_id,kind,value,source\n{answer.id},correction,负面,a\nnobody,rating,true,a\n"
        f"{answer.id},rating,7,a\n{answer.id},guess,x,\n,,,\n",
        encoding="utf-8",
    )
    result = import_feedback(trained_project, path)
    assert result.added == 1
    assert [row for row, _reason in result.refused] == [2, 3, 4, 5]
    assert "nobody" in result.refused[0][1]


def test_rows_of_an_import_that_cannot_be_read_are_refused_with_the_others(
    trained_project: Project,
) -> None:
    answer = trained_project.predict([GOOD])[0]
    path = trained_project.root / "in.csv"
    path.write_text(
        f"prediction_id,kind,value\nnobody,rating,true\n{answer.id}\n{answer.id},rating,true\n"
    )
    result = import_feedback(trained_project, path)
    assert result.added == 1
    assert [row for row, _reason in result.refused] == [1, 2]


def test_a_table_for_import_must_be_there_and_have_its_columns(trained_project: Project) -> None:
    for name, content, code in (
        ("gone.csv", None, "file_missing"),
        ("a.docx", "x", "unknown_ending"),
        ("a.xlsx", "x", "unreadable_file"),
        ("a.csv", "prediction_id,kind\nx,rating\n", "column_missing"),
    ):
        path = trained_project.root / name
        if content is not None:
            path.write_text(content)
        with pytest.raises(FeilunError) as caught:
            import_feedback(trained_project, path)
        assert caught.value.code == code


# Reproduce, doctor, signals


@pytest.mark.parametrize("kind", ["records", "dataset", "model", "report"])
def test_everything_is_made_again_with_the_same_bytes(kind: str, trained_project: Project) -> None:
    result = reproduce(trained_project, f"{kind}/1")
    assert result.same, result
    assert result.same_code
    assert result.inputs_changed == ()
    assert result.files


def test_what_differs_says_which_input_changed(trained_project: Project) -> None:
    data = trained_project.root / "reviews.csv"
    data.write_text(data.read_text(encoding="utf-8") + "one more review,正面\n", encoding="utf-8")
    result = reproduce(trained_project, "records/1")
    assert not result.same
    assert result.inputs_changed == ("source.0",)
    assert reproduce(trained_project, "dataset/1").same, "made of stored records, not of the file"
    put = trained_project.put(Records(files={}, num_rows=0))
    with pytest.raises(NotMadeHere):
        reproduce(trained_project, f"records/{put.digest}")
    assert [p.name for p in trained_project.folder.iterdir() if p.name.startswith("tmp")] == []


def test_the_doctor_finds_all_well_and_names_each_damage(
    trained_project: Project, tmp_path: Path
) -> None:
    assert all(f.well for f in examine(trained_project.root) if f.what != "free disk")
    digest = next(iter(trained_project.get("model/live").files.values()))  # type: ignore[attr-defined]
    trained_project.blobs.path(digest).write_bytes(b"x")
    (trained_project.root / "reviews.csv").unlink()
    found = {f.what: f for f in examine(trained_project.root)}
    for what in ("sources", "stored files", "live model"):
        assert not found[what].well
        assert found[what].remedy
    assert found["databases"].well
    trained_project.close()
    (trained_project.folder / "events.db").write_bytes(b"not a database" * 100)
    (trained_project.folder / "events.db-wal").unlink(missing_ok=True)
    assert not {f.what: f for f in examine(trained_project.root)}["databases"].well
    assert not {f.what: f for f in examine(tmp_path / "nowhere")}["project"].well


def test_signals_are_of_the_window(trained_project: Project) -> None:
    trained_project.predict([GOOD] * 30)
    found = {signal.name: signal for signal in trained_project.signals()}
    assert found["predictions"].value == 30
    assert found["requests"].value == 1
    assert found["share.正面"].level == "warning"
    assert {s.name: s for s in trained_project.signals(hours=1e-9)}["predictions"].value == 0
