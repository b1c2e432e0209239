"""The engine: batches grow with the load, too much is refused, nobody waits for ever."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from feilun.models.levels import Levelled, Routed
from feilun.stages.serve import (
    Engine,
    NoVectors,
    Overloaded,
    Stopped,
    TooLate,
    TooManyWaiting,
)
from feilun.stages.serve.pace import Pace
from feilun.stages.serve.waiting import BATCH_TEXTS
from feilun.tasks import Classify
from feilun.tasks.task import Input


class Slow:
    """A predictor that waits to be let go, and notes the size of its batches."""

    labels = ("a", "b")

    def __init__(self) -> None:
        self.go, self.reached = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.fails: Exception | None = None

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        if texts != ["warm-up"]:
            self.batches.append(len(texts))
            self.reached.set()
            self.go.wait(10)
            if self.fails:
                raise self.fails
        made = np.zeros((len(texts), 2), dtype=np.float32)
        for at, text in enumerate(texts):
            made[at, int(text.endswith("b"))] = 1.0
        return made


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def engine(slow: Slow) -> Iterator[Engine]:
    made = Engine(Classify(), limit=8)
    made.swap("m1", slow)
    yield made
    slow.go.set()
    made.close()


def test_each_request_gets_its_own_answers_in_order(engine: Engine, slow: Slow) -> None:
    slow.go.set()

    def ask(number: int) -> bool:
        texts = [f"{number} {'ab'[(number + at) % 2]}" for at in range(number % 4)]
        answer = engine.submit(texts).result(10)
        return [p.label for p in answer.answers] == [text[-1] for text in texts]

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(200)))


def test_what_waits_becomes_one_batch(engine: Engine, slow: Slow) -> None:
    first = engine.submit(["0 a"])
    slow.reached.wait(10)
    waiting = [engine.submit([f"{n} b", f"{n} a"]) for n in range(5)]
    assert engine.waiting == 5
    slow.go.set()
    assert first.result(10).answers[0].label == "a"
    assert [[p.label for p in done.result(10).answers] for done in waiting] == [["b", "a"]] * 5
    assert slow.batches == [1, 10]


def test_a_batch_stays_near_its_limit(
    engine: Engine, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "characters", lambda *_given: math.inf)  # `slow` has none
    engine.submit(["x a"])
    slow.reached.wait(10)
    waiting = [engine.submit(["x a"] * (BATCH_TEXTS // 2)) for _n in range(4)]
    slow.go.set()
    for done in waiting:
        done.result(10)
    assert slow.batches == [1, BATCH_TEXTS, BATCH_TEXTS]


def test_a_full_queue_refuses_at_once(engine: Engine, slow: Slow) -> None:
    taken = [engine.submit(["0 a"])]
    slow.reached.wait(10)
    taken += [engine.submit(["1 a"]) for _n in range(8)]
    with pytest.raises(Overloaded, match="8 requests are already waiting"):
        engine.submit(["2 a"])
    slow.go.set()
    assert all(done.result(10).answers for done in taken)


def test_a_swap_takes_effect_between_two_batches(engine: Engine, slow: Slow) -> None:
    first = engine.submit(["0 a"])
    slow.reached.wait(10)
    other = Slow()
    other.go.set()
    engine.swap("m2", other)
    assert engine.model == "m2"
    second = engine.submit(["1 a"])
    slow.go.set()
    assert (first.result(10).model, second.result(10).model) == ("m1", "m2")


def test_a_model_that_cannot_predict_is_not_taken(engine: Engine) -> None:
    class Broken:
        labels = ("a",)

        def scores(self, texts: Sequence[str]) -> np.ndarray:
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        engine.swap("m2", Broken())
    assert engine.model == "m1"


def test_closing_answers_all_that_waits_then_refuses(engine: Engine, slow: Slow) -> None:
    taken = [engine.submit(["0 a"])]
    slow.reached.wait(10)
    taken += [engine.submit(["1 b"]) for _n in range(8)]
    closing = threading.Thread(target=engine.close)
    closing.start()
    slow.go.set()
    closing.join(10)
    assert not closing.is_alive()
    assert [done.result(0).answers[0].label for done in taken] == ["a", *"b" * 8]
    with pytest.raises(Stopped):
        engine.submit(["2 a"])
    engine.close()


def test_no_request_is_left_unanswered_when_closing_and_asking_race() -> None:
    for _again in range(30):
        engine, quick = Engine(Classify(), limit=4), Slow()
        quick.go.set()
        engine.swap("m", quick)
        taken = []

        def ask(engine: Engine = engine, taken: list = taken) -> None:  # type: ignore[type-arg]
            while True:
                try:
                    taken.append(engine.submit(["x a"]))
                except Overloaded:
                    continue
                except Stopped:
                    return

        threads = [threading.Thread(target=ask) for _thread in range(3)]
        for thread in threads:
            thread.start()
        engine.close()
        for thread in threads:
            thread.join()
        assert all(done.result(5).answers for done in taken)


def test_a_failure_is_told_to_those_it_hit_and_the_engine_lives_on(
    engine: Engine, slow: Slow
) -> None:
    slow.go.set()
    slow.fails = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.submit(["0 a"]).result(10)
    slow.fails = None
    assert engine.submit(["0 a"]).result(10).answers[0].label == "a"


def test_scores_of_the_wrong_shape_are_told_and_the_engine_lives_on(engine: Engine) -> None:
    class Odd(Slow):
        def scores(self, texts: Sequence[str]) -> np.ndarray:
            more = int(texts[0] != "warm-up")
            return np.zeros((len(texts) + more, 2), dtype=np.float32)

    engine.swap("m2", Odd())
    with pytest.raises(ValueError, match="zip"):
        engine.submit(["0 a"]).result(10)
    good = Slow()
    good.go.set()
    engine.swap("m3", good)
    assert engine.submit(["0 a"]).result(10).model == "m3"


def test_a_client_that_has_gone_does_not_stop_the_engine(engine: Engine, slow: Slow) -> None:
    first = engine.submit(["0 a"])
    slow.reached.wait(10)
    gone, there = engine.submit(["1 a"]), engine.submit(["2 b"])
    assert gone.cancel()
    slow.go.set()
    assert there.result(10).answers[0].label == "b"
    first.result(10)
    assert engine.submit(["3 a"]).result(10).answers[0].label == "a"


def test_without_a_model_nothing_is_taken() -> None:
    engine = Engine(Classify(), limit=1)
    assert engine.model is None
    with pytest.raises(Stopped):
        engine.submit(["x"])
    engine.close()


def test_what_is_too_late_in_the_queue_is_never_computed(engine: Engine, slow: Slow) -> None:
    first = engine.submit(["0 a"])
    slow.reached.wait(10)
    late = engine.submit(["1 b"], time.monotonic())
    there = engine.submit(["2 a"], time.monotonic() + 600)
    slow.go.set()
    with pytest.raises(TooLate):
        late.result(10)
    assert [done.result(10).answers[0].label for done in (first, there)] == ["a", "a"]
    assert slow.batches == [1, 1]


def test_vectors_wait_in_the_same_line(engine: Engine, slow: Slow) -> None:
    class Placing(Slow):
        def embeddings(self, texts: Sequence[str]) -> np.ndarray:
            self.batches.append(-len(texts))
            return np.array([[float(len(text))] for text in texts], dtype=np.float32)

    with pytest.raises(NoVectors):
        engine.submit_embeddings(["x"])
    placing = Placing()
    engine.swap("m2", placing)
    first = engine.submit(["0 a"])
    placing.reached.wait(10)
    asked = [engine.submit_embeddings(["x"] * (1 + at)) for at in range(7)]
    engine.submit(["1 a"])
    with pytest.raises(Overloaded):
        engine.submit_embeddings(["x"])
    placing.go.set()
    found = [done.result(10) for done in asked]
    assert [one.vectors.shape for one in found] == [(1 + at, 1) for at in range(7)]
    assert {one.model for one in found} == {"m2"}
    assert first.result(10).model == "m2"
    assert -28 in placing.batches


def test_more_texts_than_may_wait_are_refused(slow: Slow) -> None:
    engine = Engine(Classify(), 100, texts=4)
    engine.swap("m", slow)
    first = engine.submit(["0 a"])
    slow.reached.wait(10)
    waiting = engine.submit(["1 a"] * 3)
    with pytest.raises(TooManyWaiting):
        engine.submit(["2 a"] * 2)
    slow.go.set()
    assert len(waiting.result(10).answers) == 3
    first.result(10)
    engine.close()


class InLevels(Levelled):
    """Two levels: the first answers what ends in `a`; of `?` nobody is sure."""

    labels = ("a", "b")
    names = ("0-cheap", "1-dear")

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        return self.routed(inputs).scores

    def last(self, inputs: Sequence[Input]) -> np.ndarray:
        return self.routed(inputs).scores

    def routed(self, inputs: Sequence[Input], *, leaves: bool = False) -> Routed:
        rows = np.array([[str(t).endswith("a"), not str(t).endswith("a")] for t in inputs])
        levels = [0 if str(t).endswith("a") else 2 if leaves and "?" in t else 1 for t in inputs]
        return Routed(rows.astype(np.float32), np.array(levels), np.full(len(inputs), 3.6))


def test_a_cascade_says_who_answered_and_what_it_cost() -> None:
    engine = Engine(Classify(), 8, price=2.0)
    engine.swap("m", InLevels())
    found = engine.submit(["1 a", "2 b", "? b"], leaves=True).result(10)
    assert (found.levels, found.depth, found.labels) == ([0, 1, 2], 2, ("a", "b"))
    assert found.costs == pytest.approx([0.002] * 3)
    # Whoever does not take what is left open gets the last one's answer to it.
    assert engine.submit(["? b"]).result(10).levels == [1]
    engine.close()


def test_swapping_and_going_back_under_load_loses_no_request(slow: Slow) -> None:
    engine = Engine(Classify(), 10_000)
    models = {}
    for name in ("m1", "m2", "m3"):
        models[name] = Slow()
        models[name].go.set()
    engine.swap("m1", models["m1"])
    end = threading.Event()

    def ask(number: int) -> list[str]:
        met = []
        while not end.is_set():
            answered = engine.submit([f"{number} {'ab'[number % 2]}"]).result(10)
            assert answered.answers[0].label == "ab"[number % 2]
            met.append(answered.model)
        return met

    with ThreadPoolExecutor(6) as pool:
        asking = [pool.submit(ask, number) for number in range(6)]
        for turn in range(60):
            name = f"m{1 + turn % 3}"
            engine.swap(name, models[name])
        end.set()
        met = [name for one in asking for name in one.result(20)]
    assert met
    assert set(met) <= set(models)
    engine.close()
