"""What is metered equals the rows it was metered from, whatever the order they were written in."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.store.database import FOLDER
from feilun.store.events import AnswerRow, Charge, EventLog, KeyUse, PredictionRow
from feilun.store.events.answers import KEPT_SECONDS, find_answer, remove_expired
from feilun.store.events.usage import DayUsage, day_of, last_uses, read_usage

NOON = 1_795_348_800.0  # 2026-11-22, 12:00 UTC


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.db")
    yield log
    log.close()


def row(
    identity: str, request: str, at: float = NOON, key: str = "k", **more: object
) -> PredictionRow:
    return PredictionRow(
        identity,
        request,
        at,
        "m",
        "text",
        "l",
        1.0,
        None,
        1.0,
        key,
        **more,  # type: ignore[arg-type]
    )


def used(log: EventLog) -> list[DayUsage]:
    with log.database.read() as connection:
        return read_usage(connection, "0000-00-00")


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two", "three"]),
        st.integers(0, 3 * 86400),
        st.sampled_from(["live", "shadow", "batch"]),
        st.lists(st.integers(0, 50), min_size=1, max_size=4),
    ),
    max_size=25,
)


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(REQUESTS)
def test_usage_equals_the_rows(
    tmp_path: Path, requests: list[tuple[str, int, str, list[int]]]
) -> None:
    for old in tmp_path.glob("events.db*"):
        old.unlink()
    log = EventLog(tmp_path / "events.db")
    expected: dict[tuple[str, str], Counter[str]] = {}
    waiting = []
    for number, (key, after, route, sizes) in enumerate(requests):
        at = NOON + after
        rows = [
            row(f"p{number}-{i}", f"r{number}", at, key, route=route, characters=n, cost=0.5)
            for i, n in enumerate(sizes)
        ]
        waiting.append(log.submit(rows))
        if route != "shadow":
            total = expected.setdefault((key, day_of(at)), Counter())
            total.update(requests=1, predictions=len(sizes), characters=sum(sizes))
    for done in waiting:
        done.result()
    found = {(day.key, day.day): day for day in used(log)}
    log.close()
    assert found.keys() == expected.keys()
    for name, total in expected.items():
        day = found[name]
        assert (day.requests, day.predictions, day.characters) == (
            total["requests"], total["predictions"], total["characters"],
        )  # fmt: skip
        assert day.cost == pytest.approx(0.5 * total["predictions"])


def test_a_refused_request_costs_nothing_and_its_neighbours_are_charged(log: EventLog) -> None:
    log.record([row("p1", "r1")])
    twice = log.submit([row("p2", "r2"), row("p1", "r2")])
    other = log.submit([row("p3", "r3")])
    with pytest.raises((sa.exc.IntegrityError, sqlite3.IntegrityError)):
        twice.result()
    other.result()
    assert [(day.requests, day.predictions) for day in used(log)] == [(2, 2)]
    assert log.counts()["predictions"] == 2


def test_usage_outlives_the_rows(log: EventLog) -> None:
    log.record([row("p1", "r1", characters=4)])
    with log.database.write() as connection:
        connection.execute(sa.text("DELETE FROM predictions"))
    log.record([Charge("k", NOON, "r2", characters=6, tokens=3, cost=0.25)])
    assert used(log) == [DayUsage("k", "2026-11-22", 2, 1, 10, 3, 0.25)]


def test_days_begin_at_midnight_utc() -> None:
    assert (day_of(NOON + 12 * 3600 - 1), day_of(NOON + 12 * 3600)) == ("2026-11-22", "2026-11-23")


def test_the_last_use_never_goes_back(log: EventLog) -> None:
    log.record([KeyUse("k", 100.0), KeyUse("k", 50.0), KeyUse("other", 7.0)])
    with log.database.read() as connection:
        assert last_uses(connection) == {"k": 100.0, "other": 7.0}


def as_left_by(path: Path, revision: str) -> None:
    """Makes the database as the migrations up to `revision` leave it."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER / "events"))
    script = ScriptDirectory.from_config(config)
    engine = sa.create_engine(f"sqlite:///{path}")

    def upgrade(current: Any, _context: Any) -> Any:
        return script._upgrade_revs(revision, current)

    with EnvironmentContext(config, script, fn=upgrade) as environment, engine.begin() as writer:
        environment.configure(connection=writer)
        environment.run_migrations()
    engine.dispose()


def test_what_was_answered_before_there_was_usage_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    as_left_by(path, "0001_events")
    with sqlite3.connect(path) as old:
        old.executemany(
            "INSERT INTO predictions (id, request, at, model, input, score, latency_ms, key)"
            " VALUES (?, ?, ?, 'm', '四个汉字', 1.0, 1.0, 'k')",
            [("p1", "r1", NOON), ("p2", "r1", NOON), ("p3", "r2", NOON + 86400)],
        )
    old.close()
    log = EventLog(path)
    days = used(log)
    log.close()
    assert days == [
        DayUsage("k", "2026-11-22", 1, 2, 8, 0, 0.0),
        DayUsage("k", "2026-11-23", 1, 1, 4, 0, 0.0),
    ]


def test_an_answer_is_found_for_a_day_and_then_gone(log: EventLog) -> None:
    log.record([AnswerRow("a", "body", b"{}", NOON)])
    with log.database.read() as connection:
        assert find_answer(connection, "a", NOON + KEPT_SECONDS) is not None
        assert find_answer(connection, "a", NOON + KEPT_SECONDS + 1) is None
        assert find_answer(connection, "b", NOON) is None
    with log.database.write() as connection:
        assert remove_expired(connection, NOON + KEPT_SECONDS) == 0
    log.record([AnswerRow("b", "body", b"{}", NOON + KEPT_SECONDS + 1)])
    with log.database.read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM answers")) == 1


def test_the_same_answer_twice_stores_neither_it_nor_what_comes_with_it(log: EventLog) -> None:
    answer = AnswerRow("a", "body", b"{}", NOON)
    log.record([row("p1", "r1"), answer])
    with pytest.raises((sa.exc.IntegrityError, sqlite3.IntegrityError)):
        log.record([row("p2", "r2"), answer])
    assert [(day.requests, day.predictions) for day in used(log)] == [(1, 1)]
    assert log.counts()["predictions"] == 1
