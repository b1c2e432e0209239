"""A lesson learnt: for each task, from its records to the tensors that its predictor reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import save_file

from feilun.models.family import Lesson, NothingToLearn
from feilun.models.ngram import native
from feilun.models.ngram.calibration import Calibration, calibrated, independent
from feilun.models.ngram.goal import exclusive, several
from feilun.models.ngram.pairs import PairReader, vocabulary
from feilun.models.ngram.predict import WEIGHTS
from feilun.models.ngram.predict_pairs import as_features
from feilun.models.ngram.regression import regress, values
from feilun.models.ngram.text import lines
from feilun.models.ngram.training import Features, Machine, Plan, features, train
from feilun.tasks import Classify

Tell = Callable[[int, int], None]
PAIRS_COST = 10.0
"""Times the cost for texts: a pair's row is shorter where it matters, in its dense features."""


class Learnt(NamedTuple):
    """`tensors` for `model.safetensors`, the features kept, and `more` for the model's card."""

    tensors: dict[str, np.ndarray]
    num_features: int
    more: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Writes `model.safetensors`."""
        save_file(self.tensors, folder / WEIGHTS)


def learn(lesson: Lesson, plan: Plan, tell: Tell) -> Learnt:
    """What the task of `lesson` asks for (not `tag`); `tell(done, total)` is called as fits end.
    Raises `NothingToLearn`, `NothingLabelled`, `LabelUnknown` and `NotANumber`."""
    if lesson.task.use == "match":
        return _pairs(lesson, plan, tell)
    if lesson.task.use == "regress":
        return _value(lesson, plan, tell)
    if isinstance(lesson.task, Classify) and lesson.task.multiple:
        return _several(lesson, plan, tell)
    return _class(lesson, plan, tell)


def _class(lesson: Lesson, plan: Plan, tell: Tell) -> Learnt:
    goal = exclusive(lesson)
    given = _features(lesson, plan)
    machine, out_of_fold = train(given, goal, plan, tell)
    return _learnt(given, machine, calibrated(out_of_fold, goal.truth, goal.num_classes))


def _several(lesson: Lesson, plan: Plan, tell: Tell) -> Learnt:
    goal = several(lesson)
    given = _features(lesson, plan)
    machine, out_of_fold = train(given, goal, plan, tell)
    return _learnt(given, machine, independent(out_of_fold, goal.held))


def _value(lesson: Lesson, plan: Plan, tell: Tell) -> Learnt:
    target = values(lesson)
    given = _features(lesson, plan)
    fitted = regress(given, target, plan, tell)
    machine = Machine(fitted.scale, fitted.weights[None, :])
    learnt = _learnt(given, machine, Calibration(fitted.spread, np.array([fitted.mean])))
    more = {"interval": list(fitted.interval), "chosen_cost": fitted.cost}
    return learnt._replace(more=more)


def _pairs(lesson: Lesson, plan: Plan, tell: Tell) -> Learnt:
    goal = exclusive(lesson)
    pairs = _inputs(lesson)
    plan = plan._replace(cost=plan.cost * PAIRS_COST)
    known = vocabulary(pairs, plan.shape, plan.min_texts)
    given = as_features(PairReader(plan.shape, known).read(pairs), known)
    machine, out_of_fold = train(given, goal, plan, tell)
    calibration = calibrated(out_of_fold, goal.truth, goal.num_classes)
    tensors = {
        "buckets": known.buckets,
        "idf": known.idf,
        "rare": np.array([known.rare], dtype=np.float32),
        "scale": machine.scale,
        "weights": machine.weights,
        "slope": np.array([calibration.slope], dtype=np.float32),
        "shift": calibration.shift.astype(np.float32),
    }
    return Learnt(tensors, len(known.buckets), {})


def _inputs(lesson: Lesson) -> Any:
    if len(lesson.train) == 0:
        raise NothingToLearn(0)
    return lesson.task.inputs(lesson.train)


def _features(lesson: Lesson, plan: Plan) -> Features:
    inputs = _inputs(lesson)
    return features(native.texts(lines(inputs), len(inputs)), plan)


def _learnt(given: Features, machine: Machine, calibration: Calibration) -> Learnt:
    """The tensors in the order of their buckets, the scale multiplied into the weights."""
    ascending = np.argsort(given.buckets)
    tensors = {
        "buckets": given.buckets[ascending],
        "scale": machine.scale[ascending],
        "weights": (machine.weights[:, :-1] * machine.scale).T[ascending],
        "bias": machine.weights[:, -1].copy(),
        "slope": np.atleast_1d(calibration.slope).astype(np.float32),
        "shift": calibration.shift.astype(np.float32),
    }
    return Learnt(tensors, given.num, {})
