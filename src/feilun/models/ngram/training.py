"""From texts to a linear model: features, their weights, the machine, its calibration.

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
from feilun.models.ngram.calibration import Calibration, calibrated
from feilun.models.ngram.native import Rows, Shape, Texts

FEW_TEXTS = 1000
"""Below this many texts, an n-gram that occurs in only one of them is kept."""


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
    """The features kept: their `buckets`, the most frequent first, and the texts as `rows` of
    damped counts."""

    buckets: np.ndarray
    rows: Rows


class Machine(NamedTuple):
    """What one fit gives: `scale` [features], `weights` [margins, features + 1], bias last."""

    scale: np.ndarray
    weights: np.ndarray


class Trained(NamedTuple):
    """A model: `buckets` ascend; `weights` [features, margins] already hold `scale`."""

    buckets: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    calibration: Calibration
    out_of_fold: np.ndarray


def train(
    texts: Texts,
    truth: np.ndarray,
    num_classes: int,
    plan: Plan,
    tell: Callable[[int, int], None],
) -> Trained:
    """Trains on `texts`, whose classes are `truth` (int64); `tell(done, total)` is called from
    this thread as fits end. The same whatever the number of threads."""
    given = features(texts, plan)
    fold = folds(truth, plan)
    num_margins = num_classes if num_classes > 2 else 1

    def one(number: int) -> Machine:
        return fit(given, np.flatnonzero(fold != number), truth, num_classes, plan)

    def left_out(number: int) -> np.ndarray:
        chosen = np.flatnonzero(fold == number).astype(np.int32)
        machine = one(number)
        rows = native.weigh(given.rows, machine.scale)
        return np.stack([native.margins(rows, chosen, w) for w in machine.weights], axis=1)

    out_of_fold = np.zeros((texts.num, num_margins))
    total = plan.folds + 1

    def numbered(number: int) -> Machine | np.ndarray:
        # One margin: the fits run side by side. More: `fit` itself runs them side by side.
        return one(-1) if number == plan.folds else left_out(number)

    machine: Machine | None = None
    results = native.ordered(numbered, total, num_threads=1 if num_margins > 1 else None)
    for number, result in enumerate(results):
        if isinstance(result, Machine):
            machine = result
        else:
            out_of_fold[fold == number] = result
        tell(number + 1, total)
    assert machine is not None  # the last of `total` is one
    weights = (machine.weights[:, :-1] * machine.scale).T
    ascending = np.argsort(given.buckets)
    return Trained(
        given.buckets[ascending],
        machine.scale[ascending],
        weights[ascending],
        machine.weights[:, -1].copy(),
        calibrated(out_of_fold, truth, num_classes),
        out_of_fold,
    )


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
    return Features(kept, native.keep(buckets, values, sizes, feature))


def folds(truth: np.ndarray, plan: Plan) -> np.ndarray:
    """The fold, 0 … folds - 1, of each record; every class is spread evenly over them."""
    order = native.shuffled(len(truth), plan.seed)
    order = order[np.argsort(truth[order], kind="stable")]
    fold = np.empty(len(truth), dtype=np.int64)
    fold[order] = np.arange(len(truth)) % plan.folds
    return fold


def fit(
    given: Features, chosen: np.ndarray, truth: np.ndarray, num_classes: int, plan: Plan
) -> Machine:
    """One machine per margin, trained on the rows `chosen`."""
    chosen = chosen.astype(np.int32)
    scale = scales(given, chosen, truth, num_classes, plan)
    rows = native.weigh(given.rows, scale)
    positives = range(num_classes) if num_classes > 2 else [1]

    def solved(margin: int) -> np.ndarray:
        positive = truth == positives[margin]
        alpha = np.zeros(rows.num)
        weights = np.zeros(len(scale) + 1, dtype=np.float32)
        native.solve(
            rows, chosen, np.where(positive, 1, -1).astype(np.int8),
            0.5 / _costs(positive, chosen, plan), alpha, weights, plan.until,
        )  # fmt: skip
        return weights

    threads = None if len(positives) > 1 else 1
    solutions = native.ordered(solved, len(positives), num_threads=threads)
    return Machine(scale, np.stack(list(solutions)))


def scales(
    given: Features, chosen: np.ndarray, truth: np.ndarray, num_classes: int, plan: Plan
) -> np.ndarray:
    """idf * (1 + the largest |log-count ratio| over the classes) of each feature, float32, from
    the rows `chosen`; 0 for a feature that too few of them have."""
    one, num_features = np.float32(1), len(given.buckets)
    counts = native.count_rows(given.rows, chosen, num_features)
    most = np.zeros(num_features, dtype=np.float32)
    for number in range(num_classes) if num_classes > 2 else [1]:
        own = chosen[truth[chosen] == number]
        within = native.count_rows(given.rows, own, num_features)
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
