"""The engine: batches grow with the load, too much is refused, nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from feilun.stages.serve import Engine, Overloaded
from feilun.stages.serve.engine import BATCH_TEXTS, Stopped
from feilun.tasks import Classify


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


def test_a_batch_stays_near_its_limit(engine: Engine, slow: Slow) -> None:
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
