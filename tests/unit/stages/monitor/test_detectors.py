"""All detectors together: how often chance alone warns, and what a change is found by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from feilun.stages.monitor import Level, Monitor, Said, Sample, Signal, Window
from feilun.stages.monitor.budget import Budget
from feilun.stages.monitor.feedback_shares import FeedbackShares
from feilun.stages.monitor.label_shift import LabelShift, estimate
from feilun.stages.monitor.null import FEWEST
from feilun.stages.monitor.reference import HeldOut, Reference, measured
from feilun.store.events import Usage
from tests.unit.stages.monitor.worlds import World, reference, window


@pytest.fixture(scope="module")
def made() -> Reference:
    world = World(0)
    return reference(world.texts(600), world.texts(500))


def loud(seen: Window, stage: Monitor | None = None) -> set[str]:
    signals = (stage or Monitor()).run(seen, None)  # type: ignore[arg-type]
    assert all(str(signal.message) for signal in signals)
    return {
        signal.name.partition(".")[0]
        for signal in signals
        # Label shares are compared with training, which this world says nothing of.
        if signal.level is Level.WARNING and not signal.name.startswith("share.")
    }


def test_chance_warns_as_often_as_stated() -> None:
    """Over worlds, for each has luck of its own; 0.1 so that few looks say much."""
    stage, looks, hits = Monitor(false_alarms_per_look=0.1), 0, 0
    by: Counter[str] = Counter()
    for seed in range(3):
        world = World(100 + seed)
        made = reference(world.texts(300), world.texts(300))
        for _look in range(40):
            found = loud(window(world.texts(120), made), stage)
            by.update(found)
            hits += bool(found)
            looks += 1
    assert hits <= 0.1 * looks + 3.3 * (looks * 0.1 * 0.9) ** 0.5, by


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ({"positive": 0.15}, {"inputs", "outputs", "label_shift"}),
        ({"strange": 0.3}, {"inputs", "unknown", "column"}),
    ],
)
def test_a_planted_change_is_found(made: Reference, change: dict[str, float], by: set[str]) -> None:
    world = World(7)
    for _look in range(5):
        assert loud(window(world.texts(300, **change), made)) >= by


def test_less_confidence_is_found(made: Reference) -> None:
    rows = World(8).texts(300)
    for row in rows:
        row[4] = row[4] * 0.8  # type: ignore[operator]
    assert loud(window(rows, made)) == {"confidence"}


def test_too_few_rows_say_nothing(made: Reference) -> None:
    seen = window(World(9).texts(FEWEST - 1, strange=1.0), made)
    signals = Monitor().run(seen, None)  # type: ignore[arg-type]
    names = {signal.name for signal in signals}
    assert "inputs.read" in names
    assert not names & {"inputs.distance", "unknown.share", "outputs", "confidence"}
    assert loud(seen) == set()


def test_nothing_live_and_nothing_sampled_are_quiet(made: Reference) -> None:
    assert loud(window(World(9).texts(50), None)) == set()
    assert loud(window([], made)) == set()


def test_the_false_alarms_are_shared_by_the_tests(made: Reference) -> None:
    rows = World(3).texts(200)
    few = Monitor(detectors=Monitor().detectors[3:4])
    for stage in (few, Monitor()):
        tests = sum(one.tests(window(rows, made)) for one in stage.detectors)
        found = {s.name: s for s in stage.run(window(rows, made), None)}  # type: ignore[arg-type]
        wanted = made.columns["inputs"].compared([r[0] for r in rows], 0.01 / tests)
        assert wanted is not None
        assert found["inputs.distance"].threshold == pytest.approx(wanted.threshold)
        assert found["inputs.distance"].detector == "inputs"
    assert sum(one.tests(window(rows, made)) for one in Monitor().detectors) == 7


def test_unreadable_texts_are_counted(made: Reference) -> None:
    seen = window([], made)._replace(sample=Sample(unreadable=40, drawn=40, total=40))
    signals: list[Signal] = Monitor().run(seen, None)  # type: ignore[arg-type]
    assert "not readable: 40" in str({s.name: s for s in signals}["inputs.read"].message)


def test_the_shares_of_labels_are_recovered_and_held_by_their_interval() -> None:
    """Black-box shift estimation against the truth, on answers that err."""
    random = np.random.default_rng(5)
    given = np.array([[0.8, 0.15, 0.05, 0.0], [0.1, 0.7, 0.15, 0.05], [0.2, 0.1, 0.7, 0.0]])
    now, inside, tries = np.array([0.2, 0.3, 0.5]), 0, 60
    for _try in range(tries):
        held = np.array([random.multinomial(200, row) for row in given])
        counts = random.multinomial(600, now @ given)
        found = estimate(held, counts, 0.95)
        assert found.share == pytest.approx(now, abs=0.16)
        assert found.before == pytest.approx([1 / 3] * 3)
        inside += int(((found.low <= now) & (now <= found.high)).sum())
    assert inside >= 0.88 * 3 * tries


def test_classes_that_cannot_be_told_apart_are_not_estimated(made: Reference) -> None:
    rows = World(4).texts(200)
    assert made.confusion is not None
    for confusion in (
        np.array([[50.0, 50, 0], [50, 50, 0]]),
        np.array([[90.0, 10, 0], [1, 2, 0]]),
    ):
        assert not LabelShift().detect(window(rows, made._replace(confusion=confusion)))
    assert len(LabelShift().detect(window(rows, made))) == 2


@pytest.mark.parametrize("task", ["regress", "tag"])
def test_other_tasks_are_compared_where_it_makes_sense(task: str) -> None:
    world = World(11)

    def answered(count: int, moved: float) -> tuple[list[str], list[list[str]]]:
        if task == "regress":
            return [f"{value:.3f}" for value in world.random.normal(3 + moved, 1, count)], []
        flips = world.random.random((count, 2)) < (0.5 - moved / 4, 0.2)
        kinds = [[n for n, on in zip(("PER", "LOC"), row, strict=True) if on] for row in flips]
        return ["[]"] * count, kinds

    rows, held = world.texts(300), world.texts(300)
    answers, labels = answered(300, 0.0)
    made = measured(
        "m",
        [row[0] for row in rows],
        [row[1] for row in rows],
        HeldOut([r[0] for r in held], ["zh"] * 300, answers, labels, [0.9] * 300, ()),
        0.01,
        0,
    )
    assert "scores" not in made.columns
    for moved, wanted in ((0.0, False), (1.0, True)):
        answers, labels = answered(200, moved)
        texts = [row[0] for row in world.texts(200)]
        sample = Sample(texts, ["zh"] * 200, [], answers, labels, [0.9] * 200, 0, 200, 200)
        found = loud(window([], made)._replace(sample=sample))
        assert ("outputs" in found) == wanted
        assert not found & {"label_shift", "confidence"}


@pytest.mark.parametrize(
    ("now", "before", "wanted"),
    [
        (Said(100, 40, 1000, 30), Said(200, 20, 5000, 20), {"bad_ratings", "corrected"}),
        (Said(100, 10, 1000, 4), Said(200, 20, 5000, 20), set()),
        (Said(5, 5, 5, 5), Said(200, 0, 5000, 0), set()),
        (Said(100, 40, 1000, 30), Said(0, 0, 0, 0), set()),
        (Said(100, 1, 1000, 0), Said(200, 100, 5000, 900), set()),
    ],
)
def test_worse_feedback_is_told(now: Said, before: Said, wanted: set[str]) -> None:
    seen = window([], None)._replace(feedback=now, before=before)
    signals = FeedbackShares().detect(seen)
    assert {s.name for s in signals if s.level is Level.WARNING} == {
        f"feedback.{n}" for n in wanted
    }
    assert all(str(signal.message) for signal in signals)


def test_what_answers_cost() -> None:
    seen = Window(0.0, 43_200.0, Usage(1, 500, {}, 1.0, 1.0, 0, 0), {}, cost=2.0)
    found = {s.name: s for s in Budget(max_cost_per_day=3.5, max_cost_per_thousand=5).detect(seen)}
    assert found["cost_per_day"].value == 4.0
    assert found["cost_per_day"].level is Level.WARNING
    assert found["cost_per_thousand"].value == 4.0
    assert found["cost_per_thousand"].level is Level.OK
    assert [s.level for s in Budget().detect(seen)] == [Level.OK, Level.OK]
    assert Budget().detect(seen._replace(cost=0.0)) == []
