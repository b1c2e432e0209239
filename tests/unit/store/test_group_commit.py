"""Many works in one commit: each gets its own ids, or its own error."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import pytest

from feilun.store.clock import new_id
from feilun.store.events import EventLog, FeedbackRow, PredictionNotFound, PredictionRow
from feilun.store.events.log import _Work


def prediction(identity: str, text: str = "好") -> PredictionRow:
    return PredictionRow(identity, f"r_{identity}", 5.0, "m", text, "a", 0.5, None, 1.0, "k")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path / "events.db")
    yield opened
    opened.close()


def commit(log: EventLog, *works: Sequence[PredictionRow | FeedbackRow]) -> list[object]:
    """What each work of one group is answered: its ids, or its error."""
    group = [_Work(work, Future()) for work in works]
    log._commit(group)
    return [work.done.exception() or work.done.result() for work in group]


def stored(log: EventLog) -> list[str]:
    return [row["id"] for row in reversed(log.predictions(0))]


@pytest.mark.parametrize("count", [1, 2, 3, 12, 47, 48, 49, 64, 200])
def test_rows_of_one_group_go_in_together_in_order(log: EventLog, count: int) -> None:
    works = [[prediction(f"p{n}a"), prediction(f"p{n}b")][: 1 + n % 2] for n in range(count)]
    assert commit(log, *works) == [[row.id for row in work] for work in works]
    assert stored(log) == [row.id for work in works for row in work]
    row = log.predictions(0)[-1]
    assert (row["input"], row["label"], row["score"], row["kept"]) == ("好", "a", 0.5, "full")


def test_the_fault_of_one_costs_no_other_its_row(log: EventLog) -> None:
    commit(log, [prediction("known")])
    unsure = FeedbackRow("nothing", 1.0, "rating", 1, "x", "k")
    sure = unsure._replace(prediction="known")
    answers = commit(
        log,
        [prediction("first")],
        [unsure],
        [prediction("new"), prediction("known")],
        [sure],
        [prediction("odd", "\ud800")],
        [prediction("last")],
    )
    assert answers[0] == ["first"]
    assert isinstance(answers[1], PredictionNotFound)
    assert isinstance(answers[2], sqlite3.IntegrityError)
    assert str(answers[3][0]).startswith("fb_")  # type: ignore[index]
    assert isinstance(answers[4], UnicodeEncodeError)
    assert answers[5] == ["last"]
    assert sorted(stored(log)) == ["first", "known", "last"]
    assert [row["prediction"] for row in log.latest_feedback()] == ["known"]


def test_only_what_is_stored_is_charged(log: EventLog) -> None:
    commit(log, [prediction("a")], [prediction("a")], [prediction("b"), prediction("c")])
    with log.database.read() as connection:
        used = connection.exec_driver_sql("SELECT requests, predictions FROM usage").all()
    assert [tuple(row) for row in used] == [(3, 3)]


def test_ids_differ_and_sort_by_time() -> None:
    ids = [new_id("p") for _number in range(2000)]
    assert len(set(ids)) == 2000
    assert {len(one) for one in ids} == {2 + 12 + 20}
    assert [one[:14] for one in ids] == sorted(one[:14] for one in ids)
