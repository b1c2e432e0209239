"""Exchanges: what a key is charged, what retention takes, and feedback on old databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from feilun.store import EventLog
from feilun.store.events import ExchangeRow, FeedbackRow, PredictionNotFound, PredictionRow
from feilun.store.events.exchanges import by_day, newest
from feilun.store.events.retention import Cutoffs, purge

DAY = 86400.0


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(EventLog(tmp_path / "events.db")) as found:
        yield found


def row(number: int, at: float, outcome: str = "answered", **more: object) -> ExchangeRow:
    made = ExchangeRow(
        f"chat_{number}", at, "k", "gpt", "gpt-4", '[{"x": 1}]', "hi", "yes", outcome,
        prompt_tokens=4, completion_tokens=2, cost=0.5,
    )  # fmt: skip
    return made._replace(**more)


def test_days_in_figures(log: EventLog) -> None:
    log.record(
        [
            row(1, DAY), row(2, DAY + 5, estimated=True), row(3, 2 * DAY - 1, "cached", cost=0.0),
            row(4, 2 * DAY, "failed", cost=0.0, prompt_tokens=0, completion_tokens=0),
            row(5, 2 * DAY, "broken"), row(6, 2 * DAY, "cancelled"), row(7, 0.0),
        ]
    )  # fmt: skip
    with log.database.read() as connection:
        days = by_day(connection, DAY)
        assert [found["id"] for found in newest(connection, 2)] == ["chat_7", "chat_6"]
        usage = connection.exec_driver_sql("SELECT day, requests, tokens, cost FROM usage")
        charged = [tuple(found) for found in usage]
    assert [tuple(day) for day in days] == [
        ("1970-01-03", 3, 0, 2, 1, 12, 1.0, 0),
        ("1970-01-02", 3, 1, 0, 0, 12, 1.0, 1),
    ]
    # What failed is not charged.
    assert sorted(charged) == [
        ("1970-01-01", 1, 6, 0.5), ("1970-01-02", 3, 12, 1.0), ("1970-01-03", 2, 12, 1.0),
    ]  # fmt: skip


def test_retention_takes_what_is_old_and_has_no_feedback(log: EventLog) -> None:
    log.record([row(1, 10.0), row(2, 20.0), row(3, 30.0)])
    log.record([FeedbackRow("chat_2", 40.0, "rating", 1, "anna", "k")])
    purge(log.database, Cutoffs(inputs=25.0))
    with log.database.read() as connection:
        found = {one["id"]: one for one in newest(connection, 5)}
    assert (found["chat_1"]["text"], found["chat_1"]["kept"]) == ("", "removed")
    assert (found["chat_2"]["text"], found["chat_3"]["text"]) == ("hi", "hi")
    purge(log.database, Cutoffs(rows=35.0))
    with log.database.read() as connection:
        assert [one["id"] for one in newest(connection, 5)] == ["chat_2"]
    log.record([row(4, 50.0)])
    with log.database.read() as connection:
        assert newest(connection, 1)[0]["seq"] == 4, "a number is given once"


def test_an_old_database_keeps_its_feedback(tmp_path: Path) -> None:
    """Feedback could once refer to predictions alone: a foreign key said so."""
    path = tmp_path / "events.db"
    with sqlite3.connect(path) as old:
        old.executescript(
            """
            CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
            INSERT INTO alembic_version VALUES ('0001_events');
            CREATE TABLE predictions (
                seq INTEGER NOT NULL, id TEXT NOT NULL, request TEXT NOT NULL, at FLOAT NOT NULL,
                model TEXT NOT NULL, input TEXT NOT NULL, label TEXT, score FLOAT NOT NULL,
                reason TEXT, latency_ms FLOAT NOT NULL, "key" TEXT NOT NULL,
                PRIMARY KEY (seq), UNIQUE (id));
            CREATE INDEX predictions_by_time ON predictions (at);
            CREATE TABLE feedback (
                seq INTEGER NOT NULL, id TEXT NOT NULL, prediction TEXT NOT NULL,
                at FLOAT NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, source TEXT NOT NULL,
                idempotency_key TEXT, "key" TEXT NOT NULL,
                PRIMARY KEY (seq), UNIQUE (id),
                FOREIGN KEY(prediction) REFERENCES predictions (id), UNIQUE (idempotency_key));
            CREATE INDEX feedback_by_prediction ON feedback (prediction);
            CREATE TABLE failures (
                seq INTEGER NOT NULL, at FLOAT NOT NULL, route TEXT NOT NULL,
                status INTEGER NOT NULL, code TEXT NOT NULL, PRIMARY KEY (seq));
            INSERT INTO predictions VALUES (1, 'p1', 'r', 1.0, 'm', 'x', 'a', 1, NULL, 1, 'k');
            INSERT INTO feedback VALUES (7, 'fb1', 'p1', 2.0, 'rating', '1', 'me', 'once', 'k');
            """
        )
    old.close()
    with closing(EventLog(path)) as log:
        (kept,) = log.feedback_through(7)
        assert (kept["id"], kept["prediction"], kept["value"]) == ("fb1", "p1", 1)
        log.record([row(1, 3.0)])
        again = FeedbackRow("p1", 4.0, "rating", 1, "me", "k", idempotency_key="once")
        assert log.record([again]) == ["fb1"]
        log.record([FeedbackRow("chat_1", 5.0, "rating", 1, "me", "k")])
        with pytest.raises(PredictionNotFound):
            log.record([FeedbackRow("chat_2", 5.0, "rating", 1, "me", "k")])
        with log.database.read() as connection:
            names = connection.scalars(
                sa.text("SELECT name FROM sqlite_master WHERE type = 'index' AND sql NOT NULL")
            ).all()
            assert connection.scalar(sa.text("SELECT max(seq) FROM feedback")) == 8
        assert "feedback_by_prediction" in names
        log.record([PredictionRow("p2", "r", 1.0, "m", "x", "a", 1.0, None, 1.0, "k")])
