"""Samples of the log: bounded, uniform, and only of what people were answered with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from feilun.store.events import EventLog, FeedbackRow, PredictionRow
from feilun.store.events.samples import costs, drawn, judged, opinions


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.db")
    yield log
    log.close()


def row(number: int, route: str = "live", label: str = "a") -> PredictionRow:
    return PredictionRow(
        f"p{number}", f"r{number}", float(number), "m", f"text {number}", label, 0.9, None, 1.0,
        "k", route, characters=5, cost=0.5,
    )  # fmt: skip


def test_all_of_few_and_some_of_many(log: EventLog) -> None:
    log.record([row(n, "shadow" if n % 3 == 0 else "live") for n in range(300)])
    every = drawn(log, 100, 200, 500, seed=1)
    assert {one["id"] for one in every.rows} == {f"p{n}" for n in range(100, 200) if n % 3}
    assert every.total == 67
    some = drawn(log, 0, 300, 20, seed=1)
    assert (len(some.rows), some.total) == (20, 200)
    assert some.rows == drawn(log, 0, 300, 20, seed=1).rows
    assert {one["id"] for one in some.rows} != {r["id"] for r in drawn(log, 0, 300, 20, 2).rows}
    assert drawn(log, 1000, 2000, 20, seed=1) == ([], 0)


def test_every_row_is_drawn_as_often(log: EventLog) -> None:
    log.record([row(n) for n in range(100)])
    counts: Counter[str] = Counter()
    for seed in range(400):
        counts.update(one["id"] for one in drawn(log, 0, 100, 10, seed).rows)
    # 40 each, standard deviation 6.
    assert min(counts[f"p{n}"] for n in range(100)) > 40 - 5 * 6
    assert max(counts.values()) < 40 + 5 * 6


def test_what_people_said(log: EventLog) -> None:
    log.record([row(n, "shadow" if n == 9 else "live") for n in range(10)])
    said = [
        (0, "rating", True), (1, "rating", False), (1, "rating", 0.49), (2, "rating", 0.5),
        (3, "correction", "b"), (3, "correction", "c"), (4, "correction", " a "),
        (5, "comment", "a comment"),
    ]  # fmt: skip
    log.record([FeedbackRow(f"p{n}", 50.0, kind, value, "s", "k") for n, kind, value in said])
    assert opinions(log, "m", [(0, 100), (3, 5), (50, 60)]) == [
        (4, 2, 9, 1),
        (0, 0, 2, 1),
        (0, 0, 0, 0),
    ]
    assert opinions(log, "other", [(0, 100)]) == [(0, 0, 0, 0)]
    found = judged(log, 0, 100, 4)
    assert [(one["id"], one["said"], one["value"]) for one in found] == [
        ("p4", "correction", '" a "'),
        ("p3", "correction", '"c"'),
        ("p3", "correction", '"b"'),
        ("p2", "rating", "0.5"),
    ]
    assert found[0]["input"] == "text 4"


def test_costs_are_of_everything(log: EventLog) -> None:
    log.record([row(0), row(1, "shadow"), row(2)])
    assert costs(log, 0, 2) == 1.0
    assert costs(log, 5, 9) == 0.0
