"""Predictions: what users asked comes back as records, but for what feedback already gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feilun.stages.collect import predictions
from feilun.stages.collect.predictions import Predictions
from feilun.store import EventLog
from feilun.store.events import FeedbackRow, PredictionRow
from feilun.wheel.project import Project as Whole
from tests.unit.stages.collect.turns import Project, read

AT = datetime(2026, 1, 1, 0, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(EventLog(tmp_path / ".feilun" / "events.db")) as found:
        yield found


def answered(number: int, text: str, **more: Any) -> PredictionRow:
    row = PredictionRow(
        id=f"p{number}", request="r", at=AT.timestamp(), model="model/1", input=text,
        label="正面", score=0.99, reason=None, latency_ms=1.0, key="shop",
    )  # fmt: skip
    return row._replace(**more)


def said(prediction: str, kind: str, value: Any) -> FeedbackRow:
    return FeedbackRow(prediction, AT.timestamp(), kind, value, "anna", "shop")


def test_there_are_none_before_the_first(tmp_path: Path) -> None:
    assert list(Predictions().pieces(tmp_path, None)) == []
    assert read(Predictions(), tmp_path).frame.is_empty()
    assert not (tmp_path / ".feilun").exists(), "asking must not make an event log"


def test_an_empty_log_has_none(log: EventLog, tmp_path: Path) -> None:
    found = read(Predictions(), tmp_path)
    assert found.frame.is_empty()
    assert found.since == "0"


def test_each_turn_reads_what_was_asked_since(log: EventLog, tmp_path: Path) -> None:
    project = Project(Predictions(), tmp_path)
    log.record([answered(1, "很好"), answered(2, "太差")])
    first = project.collect()
    assert first.select("text", "label", "source", "row", "group", "fields").rows() == [
        ("很好", None, "predictions", 1, None, None),
        ("太差", None, "predictions", 2, None, None),
    ]
    assert first["time"].to_list() == [AT, AT]
    log.record([answered(3, "new"), answered(4, "很好")])
    assert project.collect()["text"].to_list() == ["很好", "太差", "new"]
    assert project.collect().height == 3


def test_only_the_new_rows_are_read(log: EventLog, tmp_path: Path) -> None:
    log.record([answered(1, "a"), answered(2, "b")])
    first = read(Predictions(), tmp_path)
    assert first.since == "2"
    log.record([answered(3, "c")])
    assert read(Predictions(), tmp_path, first.since).texts == ["c"]
    # A log that was begun anew is read from its beginning.
    assert read(Predictions(), tmp_path, "99").texts == ["a", "b", "c"]


def test_its_own_answers_are_labels_only_where_it_was_sure(log: EventLog, tmp_path: Path) -> None:
    log.record(
        [
            answered(1, "sure", score=0.95),
            answered(2, "unsure", score=0.94),
            answered(3, "none", label=None, score=0.0, reason="too long"),
        ]
    )
    labelled = read(Predictions(labels="predicted"), tmp_path)
    assert labelled.frame.select("text", "label").rows() == [
        ("sure", "正面"),
        ("unsure", None),
        ("none", None),
    ]
    strict = read(Predictions(labels="predicted", minimum_score=0.96), tmp_path)
    assert strict.frame["label"].null_count() == 3
    assert read(Predictions(), tmp_path).frame["label"].null_count() == 3


def test_what_has_feedback_is_left_to_the_feedback(log: EventLog, tmp_path: Path) -> None:
    log.record([answered(n, f"text {n}") for n in range(1, 6)])
    log.record([said("p1", "correction", "负面"), said("p2", "rating", 1.0)])
    log.record([said("p3", "outcome", "负面"), said("p4", "comment", "hm")])
    assert read(Predictions(), tmp_path).texts == ["text 4", "text 5"]


def test_many_are_read_in_chunks(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "CHUNK", 100)
    log.record([answered(n, f"text {n}") for n in range(1, 1_001)])
    # A gap of rows with feedback is passed over.
    log.record([said(f"p{n}", "rating", 1.0) for n in range(101, 401)])
    (piece,) = Predictions().pieces(tmp_path, None)
    from feilun.stages.collect.source import Quarantine

    heights = [frame.height for frame in piece.frames(Quarantine())]
    assert sum(heights) == 700
    assert max(heights) == 100


def test_what_is_asked_while_it_reads_is_for_the_next_turn(log: EventLog, tmp_path: Path) -> None:
    from feilun.stages.collect.source import Quarantine

    log.record([answered(1, "a")])
    (piece,) = Predictions().pieces(tmp_path, None)
    log.record([answered(2, "b")])
    texts = [text for frame in piece.frames(Quarantine()) for text in frame["text"]]
    assert texts == ["a"]
    assert read(Predictions(), tmp_path, piece.watermark()).texts == ["b"]


def test_a_projects_own_predictions_come_back(trained_project: Whole) -> None:
    asked = ["物流很快，下次还来", "terrible, broke after a day"]
    trained_project.predict(asked)
    assert read(Predictions(), trained_project.root).texts == asked
