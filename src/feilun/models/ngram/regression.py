"""Values from texts: ridge regression on the n-grams that a classifier would see.

The squared error suits `regress`, whose metrics are of errors. The weight of the regularisation
is chosen by the very folds that give the interval: of `COSTS`, the one whose left-out errors are
least. Each fold weighs its features anew, by tf-idf times 1 + |log-count ratio| of the texts
above the median and those below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from feilun.models.family import Lesson, NothingLabelled, NothingToLearn
from feilun.models.ngram import native
from feilun.models.ngram.goal import Exclusive
from feilun.models.ngram.training import Features, Plan, folds, scales
from feilun.tasks.regress import HELD, NotANumber, number

COSTS = (1 / 16, 1 / 4, 1.0, 4.0, 16.0)
"""Times `Plan.cost`."""
CLOSER = 0.1
"""Of `Plan.until.tolerance`: a regression is less forgiving of a solution half found."""


class Fitted(NamedTuple):
    """The value of a text is `mean + spread * (weights · row + bias)`; `scale` [features],
    `weights` [features + 1], the bias last; `interval` are the residuals (truth - value) between
    which `HELD` of the texts lay when left out; `error` is their mean absolute one."""

    scale: np.ndarray
    weights: np.ndarray
    mean: float
    spread: float
    cost: float
    interval: tuple[float, float]
    error: float


def values(lesson: Lesson) -> np.ndarray:
    """What to learn, float64: the record's label as a number; where a teacher spoke, its value
    (the first column of `soft`). Raises `NothingToLearn`, `NothingLabelled`, `NotANumber`."""
    column: Sequence[str | None] = lesson.train["label"].to_list()
    if not column:
        raise NothingToLearn(0)
    taught = np.full(len(column), np.nan)
    if lesson.soft is not None and lesson.soft.shape == (len(column), 1):
        taught = lesson.soft[:, 0].astype(np.float64)
    if np.isnan(taught).all() and lesson.train["label"].null_count() == len(column):
        raise NothingLabelled(len(column))
    found = [number(label) for label in column]
    for record, (label, value) in enumerate(zip(column, found, strict=True)):
        if value is None and np.isnan(taught[record]):
            raise NotANumber(_name(lesson, record), label or "")
    own = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    return np.where(np.isnan(taught), own, taught)


def _name(lesson: Lesson, record: int) -> str:
    return str(lesson.train["id"][record]) if "id" in lesson.train.columns else str(record + 1)


def regress(
    given: Features, target: np.ndarray, plan: Plan, tell: Callable[[int, int], None]
) -> Fitted:
    """Fits `target` (float64 [texts]); `tell` and the threads are as those of `train`."""
    mean, spread = float(target.mean()), float(target.std()) or 1.0
    wanted = (target - mean) / spread
    # Above the median or below it: what the log-count ratios tell apart, and the folds spread.
    high = Exclusive((target > np.median(target)).astype(np.int64), 2)
    fold = folds(np.argsort(np.argsort(target, kind="stable")) // plan.folds, plan)
    total = plan.folds + 1

    def left_out(part: int) -> np.ndarray:
        """The values [texts of the fold, costs]."""
        chosen = np.flatnonzero(fold != part).astype(np.int32)
        rows = native.weigh(given.rows, scales(given, chosen, high, plan))
        own = np.flatnonzero(fold == part).astype(np.int32)
        found = [
            native.margins(rows, own, weights)
            for weights in _paths(rows, chosen, wanted, plan, len(COSTS), given.num)
        ]
        return np.stack(found, axis=1)

    out_of_fold = np.zeros((len(target), len(COSTS)))
    for done, result in enumerate(native.ordered(left_out, plan.folds)):
        out_of_fold[fold == done] = result
        tell(done + 1, total)
    errors = np.square(out_of_fold - wanted[:, None]).mean(axis=0)
    best = int(errors.argmin())
    everything = np.arange(len(target), dtype=np.int32)
    scale = scales(given, everything, high, plan)
    rows = native.weigh(given.rows, scale)
    weights = _paths(rows, everything, wanted, plan, best + 1, given.num)[-1]
    tell(total, total)
    residuals = (wanted - out_of_fold[:, best]) * spread
    tail = (1 - HELD) / 2
    interval = (
        float(np.quantile(residuals, tail, method="lower")),
        float(np.quantile(residuals, 1 - tail, method="higher")),
    )
    return Fitted(
        scale, weights, mean, spread, plan.cost * COSTS[best], interval,
        float(np.abs(residuals).mean()),
    )  # fmt: skip


def _paths(
    rows: native.Rows, chosen: np.ndarray, wanted: np.ndarray, plan: Plan, num_costs: int, wide: int
) -> list[np.ndarray]:
    """The weights for each of the first costs, each found from the one before."""
    alpha, weights = np.zeros(rows.num), np.zeros(wide + 1, dtype=np.float32)
    until = plan.until._replace(tolerance=plan.until.tolerance * CLOSER)
    found = []
    for times in COSTS[:num_costs]:
        diagonal = np.full(rows.num, 0.5 / (plan.cost * times))
        native.ridge(rows, chosen, wanted, diagonal, alpha, weights, until)
        found.append(weights.copy())
    return found


def within(interval: object) -> tuple[float, float] | None:
    """The interval that a card holds, if it is one."""
    if not isinstance(interval, list) or len(interval) != 2:
        return None
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in interval):
        return None
    low, high = (float(end) for end in interval)
    return (low, high) if low <= high else None
