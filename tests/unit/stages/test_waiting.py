"""The line before the engine: bounded, urgent first, like lengths together, nobody forgotten."""

from __future__ import annotations

import math
import threading
from concurrent.futures import Future

import pytest

from feilun.stages.serve import Overloaded, TooLate, TooManyWaiting
from feilun.stages.serve.pace import BATCH_SECONDS, MOST_SECONDS, Pace
from feilun.stages.serve.waiting import BATCH_CHARACTERS, BATCH_TEXTS, Waiting, Work


class Clock:
    """A clock that stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def line(limit: int = 1000, texts: int = 10_000) -> tuple[Waiting, Clock]:
    clock = Clock()
    return Waiting(limit, texts, clock), clock


def work(*texts: str, kind: str = "answers", deadline: float = 1e9) -> Work[str]:
    return Work(kind, texts, deadline, Future())


def test_all_that_waits_is_one_batch_if_it_fits() -> None:
    waiting, _clock = line()
    works = [work("x" * length) for length in (1, 500, 3)]
    for one in works:
        assert waiting.put(one)
    assert (len(waiting), waiting.texts) == (3, 3)
    assert waiting.take() == works
    assert (len(waiting), waiting.texts) == (0, 0)


def test_the_most_urgent_leads_and_those_of_like_length_go_with_it() -> None:
    waiting, _clock = line()
    long = [work("x" * 9000, deadline=200 + at) for at in range(20)]
    short = [work("x" * 10, deadline=300 + at) for at in range(20)]
    for one, two in zip(long, short, strict=True):
        waiting.put(two)
        waiting.put(one)
    first = waiting.take()
    assert first is not None
    assert long[0] in first
    assert set(map(id, first)) <= set(map(id, long))
    assert sum(one.length for one in first) <= BATCH_CHARACTERS
    urgent = work("x" * 10, deadline=150.0)
    waiting.put(urgent)
    second = waiting.take()
    assert second is not None
    # The short ones all go with it; a long one only where there is still room.
    assert second[0] is urgent
    assert set(map(id, short)) <= set(map(id, second))


def test_batches_are_bounded_and_nothing_is_lost_or_doubled() -> None:
    waiting, _clock = line()
    works = [work(*["x" * (1 + at % 50)] * (1 + at % 30)) for at in range(200)]
    for one in works:
        waiting.put(one)
    taken: list[Work[str]] = []
    while len(waiting):
        batch = waiting.take()
        assert batch
        assert sum(len(one.inputs) for one in batch) <= BATCH_TEXTS
        taken += batch
    assert sorted(map(id, taken)) == sorted(map(id, works))
    assert waiting.texts == 0


def test_a_request_larger_than_a_batch_is_one_of_its_own() -> None:
    waiting, _clock = line()
    huge, small = work(*["x"] * (BATCH_TEXTS + 1)), work("x", deadline=2e9)
    waiting.put(small)
    waiting.put(huge)
    assert waiting.take() == [huge]
    assert waiting.take() == [small]


def test_kinds_are_not_mixed() -> None:
    waiting, _clock = line()
    waiting.put(work("a", deadline=1.0e6))
    waiting.put(work("b", kind="vectors", deadline=2.0e6))
    waiting.put(work("c", deadline=3.0e6))
    batches = [waiting.take(), waiting.take()]
    assert [[one.inputs for one in batch or []] for batch in batches] == [
        [("a",), ("c",)],
        [("b",)],
    ]


def test_what_is_too_late_is_told_so_and_never_taken() -> None:
    waiting, clock = line()
    late, good = work("a", deadline=101.0), work("b", deadline=200.0)
    waiting.put(late)
    waiting.put(good)
    clock.now = 101.0
    assert waiting.take() == [good]
    with pytest.raises(TooLate):
        late.done.result(0)


def test_too_many_requests_and_too_many_texts_are_refused() -> None:
    waiting, _clock = line(limit=3, texts=10)
    waiting.put(work(*["x"] * 8))
    with pytest.raises(TooManyWaiting, match="10 texts"):
        waiting.put(work(*["x"] * 3))
    waiting.put(work("x"))
    waiting.put(work("x"))
    with pytest.raises(Overloaded, match="3 requests"):
        waiting.put(work())


def test_one_with_more_texts_than_may_wait_is_let_in_when_nothing_waits() -> None:
    waiting, _clock = line(texts=10)
    assert waiting.put(work(*["x"] * 50))
    with pytest.raises(TooManyWaiting):
        waiting.put(work("x"))


def test_those_who_have_gone_hold_no_place() -> None:
    waiting, clock = line(limit=2)
    gone, late = work("a"), work("b", deadline=101.0)
    waiting.put(gone)
    waiting.put(late)
    assert gone.done.cancel()
    clock.now = 102.0
    there = work("c")
    assert waiting.put(there)
    assert waiting.take() == [there]
    assert waiting.texts == 0


def test_closed_it_gives_what_waits_and_then_ends() -> None:
    waiting, _clock = line()
    one = work("a")
    waiting.put(one)
    waiting.close()
    assert not waiting.put(work("b"))
    assert waiting.take() == [one]
    assert waiting.take() is None


def test_closing_wakes_who_waits_for_work() -> None:
    waiting, _clock = line()
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(waiting.take()))
    thread.start()
    waiting.close()
    thread.join(10)
    assert found == [None]


def test_a_batch_is_no_longer_than_asked_for() -> None:
    line = Waiting(100, 1000)
    for length in (10, 50, 12, 11, 49):
        line.put(work("x" * length))
    batch = line.take(lambda _all: 40)
    assert batch is not None
    assert [len(one.inputs[0]) for one in batch] == [10, 11, 12]
    # The first goes alone rather than not at all.
    alone = line.take(lambda _all: 1)
    assert alone is not None
    assert [len(one.inputs[0]) for one in alone] == [50]


def test_a_batch_is_asked_for_by_all_that_waits() -> None:
    line = Waiting(100, 1000)
    for length in (10, 50, 12):
        line.put(work("x" * length))
    told: list[int] = []
    for _batch in range(2):
        line.take(lambda waiting: told.append(waiting) or 30)
    assert told == [72, 50]


def test_the_pace_is_that_of_the_latest_batches() -> None:
    pace = Pace()
    assert pace.characters(10**9) == math.inf
    pace.note(1000, 0.1)
    assert pace.characters(0) == pytest.approx(10_000 * BATCH_SECONDS)
    pace.note(0, 5.0)
    for _batch in range(50):
        pace.note(100, 0.1)
    assert pace.characters(0) == pytest.approx(1_000 * BATCH_SECONDS, rel=0.01)


def test_of_a_long_line_a_batch_is_a_quarter_up_to_a_limit() -> None:
    pace = Pace()
    pace.note(10_000, 1.0)
    assert pace.characters(700) == 10_000 * BATCH_SECONDS
    assert pace.characters(2_000) == 500
    assert pace.characters(10**9) == 10_000 * MOST_SECONDS
