"""A new model is judged broken when it is, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from feilun.service.judgement import ANSWERS, ERRORS, LOOKS, SLOW, Fault, Judge
from feilun.stages.serve.bake import Bake
from tests.evidence import Evidence

Answers = Sequence[str | None]
SETTINGS = Bake()
WORLDS = 4000


def judged(new: Answers, before: Answers, settings: Bake = SETTINGS) -> tuple[Fault | None, int]:
    """What is wrong, and after how many answers that was known."""
    judge = Judge(settings)
    for at in range(0, len(new), 25):
        part = slice(at, at + 25)
        judge.compare([f"t{n}" for n in range(at, len(new[part]) + at)], new[part], before[part], 0)
        fault = judge.fault(judge.compared, 0)
        if fault is not None:
            return fault, judge.compared
    return None, judge.compared


def drawn(random: np.random.Generator, labels: Sequence[str], shares: np.ndarray) -> list[str]:
    return [labels[at] for at in random.choice(len(labels), LOOKS[-1], p=shares)]


def false_alarms(world: Callable[[np.random.Generator], tuple[Answers, Answers]]) -> int:
    random = np.random.default_rng(14)
    return sum(judged(*world(random))[0] is not None for _world in range(WORLDS))


def fine(random: np.random.Generator) -> tuple[Answers, Answers]:
    """Two models of some number of labels, of which the new one answers up to half otherwise."""
    labels = [f"l{n}" for n in range(random.integers(2, 12))]
    shares = random.dirichlet(np.full(len(labels), random.choice([0.3, 1.0, 5.0])))
    before = drawn(random, labels, shares)
    other = drawn(random, labels, shares)
    changed = random.random(len(before)) < random.uniform(0, 0.5)
    return [b if c else a for a, b, c in zip(before, other, changed, strict=True)], before


def at_the_limit(random: np.random.Generator) -> tuple[Answers, Answers]:
    """A new model that has no answer by just as much more often as it may."""
    share = random.uniform(0, 1 - SETTINGS.answers_apart)
    before = random.random(LOOKS[-1]) < share
    new = random.random(LOOKS[-1]) < share + SETTINGS.answers_apart
    return [None if one else "a" for one in new], [None if one else "a" for one in before]


def broken(random: np.random.Generator) -> tuple[Answers, Answers]:
    """A model that answers one label to 97 texts in 100, where the one before has a spread."""
    share = random.uniform(0.2, 0.6)
    before = drawn(random, ["a", "b", "c"], np.array([share, (1 - share) / 2, (1 - share) / 2]))
    return drawn(random, ["a", "b"], np.array([0.97, 0.03])), before


def test_a_fine_model_is_called_broken_as_seldom_as_promised(evidence: Evidence) -> None:
    at_most = SETTINGS.false_alarms * WORLDS
    alarms, limit = false_alarms(fine), false_alarms(at_the_limit)
    assert alarms <= at_most
    assert limit <= at_most
    found = [judged(*broken(np.random.default_rng(seed))) for seed in range(200)]
    assert all(fault is not None and fault.cause == ANSWERS for fault, _after in found)
    after = sorted(number for _fault, number in found)
    evidence(
        14,
        f"false alarms of the answers: {alarms} of {WORLDS} watches over fine models, {limit} of "
        f"{WORLDS} at the limit itself ({SETTINGS.false_alarms:.1%} are allowed); collapsed models "
        f"found: 200 of 200, half of them after {after[100]} answers, all after {after[-1]}",
    )


def test_control_limits_of_chance_that_are_left_out_give_false_alarms(evidence: Evidence) -> None:
    rash = SETTINGS.model_copy(update={"false_alarms": 0.49999, "answers_apart": 0.0})
    random = np.random.default_rng(14)
    alarms = sum(judged(*at_the_limit(random), rash)[0] is not None for _world in range(200))
    assert alarms > 100
    evidence.control(14, f"with the interval and the distance left out: {alarms} of 200 alarmed")


@pytest.mark.parametrize(
    ("new", "before", "wrong"),
    [
        (["a"] * 800, ["a", "b"] * 400, True),
        ([None] * 800, ["a", "b"] * 400, True),
        # It was so before.
        (["a"] * 800, ["a"] * 800, False),
        ([None] * 800, [None] * 800, False),
        # The better model says more than the one before.
        (["a", "b"] * 400, ["a"] * 800, False),
        (["a", "b"] * 400, [None] * 800, False),
        # Other names for the same labels.
        (["x"] * 760 + ["y"] * 40, ["a"] * 760 + ["b"] * 40, False),
        # More often, and by far not always.
        ((["a"] * 17 + ["b"] * 3) * 40, ["a", "b"] * 400, False),
    ],
)
def test_answers(new: Answers, before: Answers, wrong: bool) -> None:
    assert (judged(new, before)[0] is not None) is wrong


def test_a_text_that_comes_again_and_again_is_one_text() -> None:
    judge = Judge(SETTINGS)
    for _again in range(800):
        judge.compare(["x", "y"], ["a", "a"], ["a", "b"], 0.0)
    assert judge.compared == 2
    assert judge.fault(800, 0) is None


@pytest.mark.parametrize(
    ("requests", "failed", "wrong"),
    [(5, 5, True), (4, 4, False), (499, 5, True), (500, 5, False), (10_000, 101, True)],
)
def test_errors(requests: int, failed: int, wrong: bool) -> None:
    fault = Judge(SETTINGS).fault(requests, failed)
    assert (fault is not None and fault.cause == ERRORS) is wrong
    assert fault is None or f"{failed} of {requests}" in str(fault.reason("sha256:m"))


def test_slow_is_what_is_slow_for_a_text_and_by_the_model_before() -> None:
    def found(paces: Sequence[float], before: float) -> bool:
        judge = Judge(SETTINGS)
        for pace in paces:
            judge.paced(pace)
        judge.compare(["x"], ["a"], ["a"], before)
        fault = judge.fault(100, 0)
        return fault is not None and fault.cause == SLOW

    assert found([0.6] * 5, 0.01)
    assert not found([0.6] * 4, 0.01), "too few to say"
    assert not found([0.4] * 9, 0.0001), "a larger model may take its time"
    assert not found([0.9] * 9, 0.1), "it was slow before"
    assert not found([60.0, 60.0, 0.01, 0.01, 0.01], 0.01), "the machine stood still twice"
    judge = Judge(SETTINGS)
    for _batch in range(9):
        judge.paced(60.0)
    assert judge.fault(9, 0) is None, "nothing to compare with yet"
