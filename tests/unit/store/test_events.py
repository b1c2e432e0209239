"""The event log: durable before acknowledged, one commit for many, nobody hurt by a neighbour."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from feilun.store.clock import new_id
from feilun.store.events import (
    EventLog,
    FailureRow,
    FeedbackRow,
    IdempotencyReused,
    LogFull,
    PredictionNotFound,
    PredictionRow,
)
from feilun.store.events import log as events


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path / "events.db")
    yield opened
    opened.close()


def prediction(identity: str, at: float = 1.0, **more: Any) -> PredictionRow:
    row = PredictionRow(identity, f"r-{identity}", at, "m", "很好", "正面", 0.9, None, 2.0, "k")
    return row._replace(**more)


def feedback(identity: str, value: Any = "负面", key: str | None = None) -> FeedbackRow:
    kind = "correction" if isinstance(value, str) else "rating"
    return FeedbackRow(identity, 2.0, kind, value, "me", "k", key)


def test_what_is_recorded_is_read_back(log: EventLog) -> None:
    assert log.newest() == 0
    assert log.record([prediction("p1"), FailureRow(3.0, "/v1", 503, "busy")]) == ["p1"]
    for value in ('负面 ‘"\n', True, 0.5, 3, ""):
        log.record([feedback("p1", value)])
    rows = log.feedback_through(2**62)
    assert [row["value"] for row in rows] == ['负面 ‘"\n', True, 0.5, 3, ""]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5] == list(range(1, log.newest() + 1))
    assert rows[0].keys() == {
        "seq", "id", "prediction", "at", "kind", "value", "source", "key", "input", "label",
        "score", "model", "kept", "value_kept",
    }  # fmt: skip
    assert log.feedback_through(2) == rows[:2]
    assert log.latest_feedback(2) == rows[:2:-1]
    assert log.counts() == {"predictions": 1, "feedback": 5, "failures": 1}
    assert log.failures(0)[0]["status"] == 503


def test_predictions_since_a_time_come_newest_first(log: EventLog) -> None:
    log.record([prediction(f"p{at}", at=at) for at in range(5)])
    assert [row["id"] for row in log.predictions(2)] == ["p4", "p3", "p2"]
    assert [row["id"] for row in log.predictions(0, limit=1)] == ["p4"]


def test_feedback_on_what_was_never_predicted_is_refused_and_writes_nothing(log: EventLog) -> None:
    with pytest.raises(PredictionNotFound, match="'p9'"):
        log.record([prediction("p1"), feedback("p9")])
    assert log.counts() == {"predictions": 0, "feedback": 0, "failures": 0}


def test_a_repeated_key_gives_the_first_id_and_adds_nothing(log: EventLog) -> None:
    log.record([prediction("p1"), prediction("p2")])
    first = log.record([feedback("p1", key="k1")])
    assert log.record([feedback("p1", key="k1")]) == first
    assert log.record([feedback("p1", key="k2")]) != first
    for other in (
        feedback("p2", key="k1"),
        feedback("p1", "别的", key="k1"),
        feedback("p1", True, "k1"),
    ):
        with pytest.raises(IdempotencyReused, match="'k1'"):
            log.record([other])
    assert log.counts()["feedback"] == 2


def test_many_threads_share_commits_and_each_gets_its_own_answer(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0
    real = log._commit

    def counted(group: list[Any]) -> None:
        nonlocal commits
        commits += 1
        real(group)

    monkeypatch.setattr(log, "_commit", counted)
    log.record([prediction("p0")])
    barrier = threading.Barrier(8)

    def client(name: int) -> int:
        barrier.wait()
        found = 0
        for number in range(25):
            identity = f"p-{name}-{number}"
            assert log.record([prediction(identity)]) == [identity]
            log.record([feedback(identity)])
            try:
                log.record([feedback("never")])
            except PredictionNotFound:
                found += 1
        return found

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(client, range(8))) == [25] * 8
    assert log.counts() == {"predictions": 201, "feedback": 200, "failures": 0}
    assert commits < 500, "601 writes shared commits"


class Gate:
    """Holds the writer back until it is opened, so that what comes meanwhile is one group."""

    def __init__(self, log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.reached = threading.Event(), threading.Event()
        self.groups: list[int] = []
        real = log._commit

        def commit(group: list[Any]) -> None:
            self.groups.append(len(group))
            self.reached.set()
            self.open.wait(10)
            real(group)

        monkeypatch.setattr(log, "_commit", commit)


def test_one_bad_event_does_not_hurt_its_neighbours(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(log, monkeypatch)
    first = log.submit([prediction("p0")])
    gate.reached.wait(10)
    bad: list[Future[list[str]]] = [
        log.submit([prediction("p0")]),  # an id that is there already
        log.submit([prediction("p1", input="\ud800")]),  # no text
        log.submit([prediction("p2", score=float("nan"))]),  # null where there must be a number
        log.submit([feedback("p0", {"not": {1, 2}})]),  # no JSON
        log.submit([feedback("p0", key="\ud800")]),
    ]
    good = [log.submit([prediction(f"g{n}")]) for n in range(5)]
    gate.open.set()
    assert first.result(10) == ["p0"]
    assert [done.result(10) for done in good] == [[f"g{n}"] for n in range(5)]
    for done in bad:
        assert done.exception(10) is not None
    assert gate.groups == [1, 10], "they were one group"
    assert {row["id"] for row in log.predictions(0)} == {"p0", *(f"g{n}" for n in range(5))}


def test_a_client_that_has_gone_does_not_stop_the_writer(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(log, monkeypatch)
    first = log.submit([prediction("p0")])
    gate.reached.wait(10)
    gone, there = log.submit([prediction("p1")]), log.submit([prediction("p2")])
    assert gone.cancel()
    gate.open.set()
    assert there.result(10) == ["p2"]
    first.result(10)
    assert log.record([prediction("p3")]) == ["p3"], "the writer lives on"


def test_too_much_waiting_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WAITING", 3)
    log = EventLog(tmp_path / "events.db")
    gate = Gate(log, monkeypatch)
    taken = [log.submit([prediction("p0")])]
    gate.reached.wait(10)
    taken += [log.submit([prediction(f"p{n}")]) for n in (1, 2, 3)]
    started = time.monotonic()
    with pytest.raises(LogFull):
        log.submit([prediction("p4")])
    assert time.monotonic() - started < 1
    gate.open.set()
    assert [done.result(10) for done in taken] == [[f"p{n}"] for n in range(4)]
    log.close()


def test_closing_commits_what_waits_even_from_a_full_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WAITING", 2)
    log = EventLog(tmp_path / "events.db")
    gate = Gate(log, monkeypatch)
    taken = [log.submit([prediction("p0")])]
    gate.reached.wait(10)
    taken += [log.submit([prediction(f"p{n}")]) for n in (1, 2)]
    closing = threading.Thread(target=log.close)
    closing.start()
    gate.open.set()
    closing.join(10)
    assert not closing.is_alive()
    assert [done.result(0) for done in taken] == [["p0"], ["p1"], ["p2"]]
    again = EventLog(tmp_path / "events.db")
    assert again.counts()["predictions"] == 3
    again.close()


def test_a_disk_error_is_everybodys(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    log.record([prediction("p0")])

    def full(*_arguments: object) -> list[str]:
        error = __import__("sqlite3").OperationalError("database or disk is full")
        raise sa.exc.OperationalError("INSERT", {}, error)

    with monkeypatch.context() as patch:
        patch.setattr(events, "insert", full)
        with pytest.raises(events.FeilunError, match="No space left"):
            log.record([prediction("p1")])
    assert log.record([prediction("p1")]) == ["p1"], "it heals"


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    made = [new_id("p") for _id in range(500)]
    assert len(set(made)) == 500
    assert [i[:14] for i in made] == sorted(i[:14] for i in made)
