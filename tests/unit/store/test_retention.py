"""Retention: what is old goes, in small transactions; what turns go by stays."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from feilun.store.events import EventLog, FailureRow, FeedbackRow, PredictionRow
from feilun.store.events.retention import ROWS_AT_ONCE, Cutoffs, Purged, purge

NOTHING = Purged()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path / "events.db")
    yield opened
    opened.close()


def predicted(number: int, at: float) -> PredictionRow:
    text = f"canary text {number}"
    return PredictionRow(f"p{number}", "r", at, "m", text, "x", 0.9, None, 2.0, "k", characters=9)


def texts(log: EventLog) -> dict[str, str]:
    return {row["id"]: row["input"] for row in log.predictions(0)}


def test_inputs_go_and_what_has_feedback_stays(log: EventLog) -> None:
    log.record([predicted(n, float(n)) for n in range(1, 7)])
    log.record([FeedbackRow("p2", 2.0, "correction", "y", "me", "k")])
    assert purge(log.database, Cutoffs(inputs=5.0)) == Purged(inputs=3)
    kept = texts(log)
    assert [n for n in range(1, 7) if kept[f"p{n}"]] == [2, 5, 6]
    assert log.feedback_through(9)[0]["input"] == "canary text 2"
    assert purge(log.database, Cutoffs(inputs=5.0)) == NOTHING


def test_rows_and_failures_go_but_the_newest_keeps_its_number(log: EventLog) -> None:
    log.record([predicted(n, float(n)) for n in range(1, 4)])
    log.record([FailureRow(1.0, "/v1", 500, "x"), FailureRow(9.0, "/v1", 500, "x")])
    assert purge(log.database, Cutoffs(rows=5.0)) == Purged(predictions=2, failures=1)
    assert list(texts(log)) == ["p3"]
    log.record([predicted(4, 4.0)])
    assert [row["seq"] for row in log.predictions(0)] == [4, 3]


def test_feedback_goes_with_its_prediction(log: EventLog) -> None:
    log.record([predicted(n, float(n)) for n in range(1, 5)])
    for number in (1, 2, 3):
        log.record([FeedbackRow(f"p{number}", number, "correction", "y", "me", "k")])
    log.record([FeedbackRow("p2", 9.0, "rating", 1, "you", "k")])
    assert purge(log.database, Cutoffs(feedback=5.0)) == Purged(predictions=2, feedback=3)
    assert sorted(texts(log)) == ["p2", "p4"]
    assert [row["source"] for row in log.feedback_through(99)] == ["you"]


def test_batches_are_bounded_and_usage_stays(log: EventLog) -> None:
    count = 2 * ROWS_AT_ONCE + 10
    log.record([predicted(n, 1.0) for n in range(count)])
    pauses: list[int] = []

    def paused() -> None:
        pauses.append(log.counts()["predictions"])

    usage = "SELECT sum(predictions) FROM usage"
    with log.database.read() as connection:
        before = connection.exec_driver_sql(usage).scalar()
    assert purge(log.database, Cutoffs(rows=5.0), paused).predictions == count - 1
    steps = [a - b for a, b in zip([count, *pauses], pauses, strict=False)]
    assert max(steps) <= ROWS_AT_ONCE
    with log.database.read() as connection:
        assert connection.exec_driver_sql(usage).scalar() == before == count


def test_a_log_under_retention_does_not_grow(log: EventLog) -> None:
    sizes = []
    for day in range(1, 9):
        rows = [predicted(day * 10_000 + n, float(day)) for n in range(400)]
        for start in range(0, 400, 100):
            log.record(rows[start : start + 100])
        purge(log.database, Cutoffs(rows=float(day)))
        path = log.database.path
        sizes.append(path.stat().st_size)
        assert path.with_name("events.db-wal").stat().st_size == 0
    assert sizes[-1] <= 1.1 * sizes[2], "pages of what went are used again"


def test_nothing_that_went_is_left_in_the_files(log: EventLog) -> None:
    log.record([predicted(n, 1.0) for n in range(50)])
    files = [log.database.path, log.database.path.with_name("events.db-wal")]
    assert any(b"canary text 7" in path.read_bytes() for path in files)
    purge(log.database, Cutoffs(inputs=5.0))
    assert not any(b"canary text 7" in path.read_bytes() for path in files)


def test_keys_go_when_nothing_is_sealed_with_them(log: EventLog) -> None:
    day = 86_400.0
    with log.database.write() as connection:
        for name, subject, at in (("a", None, 1.0), ("b", "s1", 1.0), ("c", "s2", 1.0)):
            connection.exec_driver_sql(
                "INSERT INTO vault VALUES (?, ?, x'00', ?)", (name, subject, at)
            )
    one = predicted(1, 10 * day)._replace(kept="vault", subject="s2", input="v1.c.AAAA")
    log.record([one, predicted(2, 20 * day)])
    assert purge(log.database, Cutoffs(rows=9 * day)).keys == 2
    with sqlite3.connect(log.database.path) as connection:
        assert connection.execute("SELECT id FROM vault").fetchall() == [("c",)]
