"""From texts to linear machines, with margins for their calibration: features, their weights.

Features are weighed by tf-idf times 1 + |log-count ratio|. The ratio, of how often a feature
occurs within a class and outside it, is that of NB-SVM (Wang and Manning, "Baselines and
bigrams", ACL 2012); added to 1 rather than alone, because alone it is worse than tf-idf with
few records (measured: decisions/0004). Each fold of the calibration chooses and weighs its
features anew from what it may see: with the choice and the weights of all records, what was
left out came in by that door, and the probabilities were too sure of themselves by 2 points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from feilun.core.compiled import usable_cores
from feilun.models.ngram import native
from feilun.models.ngram.goal import Goal
from feilun.models.ngram.native import Rows, Shape, Texts

FEW_TEXTS = 1000
"""Below this many texts, an n-gram that occurs in only one of them is kept."""


DENSE = 0.8
"""Of the square of a row's length, the most that the dense features may have."""


class Plan(NamedTuple):
    """The settings of `Ngram` that training reads, with every open choice made."""

    shape: Shape
    min_texts: int
    cost: float
    balanced: bool
    folds: int
    seed: int
    until: native.Until


class Features(NamedTuple):
    """The features kept: their `buckets`, the most frequent first, and the records as `rows` of
    damped counts, in `num` columns. `dense` [records, any], float32, are features besides, which
    no scale changes: figures from -1 to 1."""

    buckets: np.ndarray
    rows: Rows
    num: int
    dense: np.ndarray | None = None


class Machine(NamedTuple):
    """What one fit gives: `scale` [features], `weights` [margins, features + dense + 1], the bias
    last."""

    scale: np.ndarray
    weights: np.ndarray


class Trained(NamedTuple):
    """The machine of all records, and each record's margins [records, margins] from one that had
    not seen it."""

    machine: Machine
    out_of_fold: np.ndarray


def train(given: Features, goal: Goal, plan: Plan, tell: Callable[[int, int], None]) -> Trained:
    """Trains towards `goal`; `tell(done, total)` is called from this thread as fits end. The same
    whatever the number of threads."""
    fold = folds(goal.stratum, plan)

    def one(number: int) -> Machine:
        return fit(given, np.flatnonzero(fold != number), goal, plan)

    def left_out(number: int) -> np.ndarray:
        chosen = np.flatnonzero(fold == number).astype(np.int32)
        machine = one(number)
        rows = weighed(given, machine.scale)
        return np.stack([native.margins(rows, chosen, w) for w in machine.weights], axis=1)

    out_of_fold = np.zeros((given.rows.num, goal.num_margins))
    total = plan.folds + 1

    def numbered(number: int) -> Machine | np.ndarray:
        # One margin: the fits run side by side. More: `fit` itself runs them side by side.
        return one(-1) if number == plan.folds else left_out(number)

    machine: Machine | None = None
    results = native.ordered(numbered, total, num_threads=1 if goal.num_margins > 1 else None)
    for number, result in enumerate(results):
        if isinstance(result, Machine):
            machine = result
        else:
            out_of_fold[fold == number] = result
        tell(number + 1, total)
    assert machine is not None  # the last of `total` is one
    _judge_singles(given, goal, machine, out_of_fold)
    return Trained(machine, out_of_fold)


def _judge_singles(given: Features, goal: Goal, machine: Machine, out_of_fold: np.ndarray) -> None:
    """Replaces the margin of a record that is alone on its side by that of the machine that has
    seen it: the one that had not knew nothing of that side, and a calibration by what it said
    would never let the side be answered."""
    rows = None
    for margin in range(goal.num_margins):
        positive = goal.positive(margin)
        for side in (positive, ~positive):
            alone = np.flatnonzero(side).astype(np.int32)
            if len(alone) == 1 and len(side) > 1:
                rows = weighed(given, machine.scale) if rows is None else rows
                out_of_fold[alone, margin] = native.margins(rows, alone, machine.weights[margin])


def features(texts: Texts, plan: Plan) -> Features:
    """The features of `texts` that occur in at least `min_texts` of them."""
    parts = list(
        native.ordered(
            lambda i: native.grams(texts, plan.shape, *pieces[i]),
            len(pieces := native.shares(texts.num, usable_cores())),
        )
    )
    buckets, values, sizes = (np.concatenate(column) for column in zip(*parts, strict=True))
    del parts
    counts = np.zeros(2**plan.shape.bits, dtype=np.int32)
    native.count(buckets, counts)
    kept = np.flatnonzero(counts >= plan.min_texts).astype(np.int32)
    # The frequent ones side by side: most of the weights a text needs are then in the cache.
    kept = kept[np.argsort(-counts[kept], kind="stable")]
    feature = np.full(2**plan.shape.bits, -1, dtype=np.int32)
    feature[kept] = np.arange(len(kept), dtype=np.int32)
    return Features(kept, native.keep(buckets, values, sizes, feature), len(kept))


def weighed(given: Features, scale: np.ndarray) -> Rows:
    """The rows as a machine sees them: of length 1, or with dense features at most 1, as the
    solver expects."""
    rows = native.weigh(given.rows, scale)
    return rows if given.dense is None else _beside(rows, given.dense, given.num)


def _beside(rows: Rows, dense: np.ndarray, first: int) -> Rows:
    """The rows with `dense` [rows, any] after each, in the columns from `first` on."""
    num, width = dense.shape
    dense = dense * np.float32(np.sqrt(DENSE / width))
    starts = rows.starts + width * np.arange(num + 1)
    places = starts[1:, None] - width + np.arange(width)
    sparse = np.ones(starts[-1], dtype=bool)
    sparse[places] = False
    columns = np.empty(len(sparse), dtype=np.int32)
    values = np.empty(len(sparse), dtype=np.float32)
    columns[sparse], values[sparse] = rows.columns, rows.values * np.float32(np.sqrt(1 - DENSE))
    columns[places], values[places] = first + np.arange(width, dtype=np.int32), dense
    return Rows(starts, columns, values)


def folds(stratum: np.ndarray, plan: Plan) -> np.ndarray:
    """The fold, 0 … folds - 1, of each record; every stratum is spread evenly over them."""
    order = native.shuffled(len(stratum), plan.seed)
    order = order[np.argsort(stratum[order], kind="stable")]
    fold = np.empty(len(stratum), dtype=np.int64)
    fold[order] = np.arange(len(stratum)) % plan.folds
    return fold


def fit(given: Features, chosen: np.ndarray, goal: Goal, plan: Plan) -> Machine:
    """One machine per margin, trained on the rows `chosen`."""
    chosen = chosen.astype(np.int32)
    scale = scales(given, chosen, goal, plan)
    rows = weighed(given, scale)
    width = given.num + (0 if given.dense is None else given.dense.shape[1])

    def solved(margin: int) -> np.ndarray:
        positive, weight = goal.positive(margin), goal.weight(margin)
        alpha = np.zeros(rows.num)
        weights = np.zeros(width + 1, dtype=np.float32)
        costs = _costs(positive, chosen, plan) * weight
        native.solve(
            rows, chosen, np.where(positive, 1, -1).astype(np.int8), 0.5 / costs, alpha,
            weights, plan.until,
        )  # fmt: skip
        return weights

    threads = None if goal.num_margins > 1 else 1
    solutions = native.ordered(solved, goal.num_margins, num_threads=threads)
    return Machine(scale, np.stack(list(solutions)))


def scales(given: Features, chosen: np.ndarray, goal: Goal, plan: Plan) -> np.ndarray:
    """idf * (1 + the largest |log-count ratio| over the margins) of each feature, float32, from
    the rows `chosen`; 0 for a feature that too few of them have."""
    one = np.float32(1)
    counts = native.count_rows(given.rows, chosen, given.num)
    most = np.zeros(given.num, dtype=np.float32)
    for margin in range(goal.num_margins):
        own = chosen[goal.positive(margin)[chosen]]
        within = native.count_rows(given.rows, own, given.num)
        ratio = np.log((within + one) / (counts - within + one), dtype=np.float32)
        ratio -= np.float32(np.log((len(own) + 2) / (len(chosen) - len(own) + 2)))
        np.maximum(most, np.abs(ratio), out=most)
    idf = np.log(np.float32(1 + len(chosen)) / (counts + one), dtype=np.float32) + one
    result: np.ndarray = np.where(counts >= plan.min_texts, idf * (one + most), np.float32(0))
    return result


def _costs(positive: np.ndarray, chosen: np.ndarray, plan: Plan) -> np.ndarray:
    """What an error costs, per record; when balanced, both sides cost the same in all."""
    if not plan.balanced:
        return np.full(len(positive), plan.cost)
    num = max(int(positive[chosen].sum()), 1)
    other = max(len(chosen) - num, 1)
    return plan.cost * len(chosen) / 2 * np.where(positive, 1 / num, 1 / other)
