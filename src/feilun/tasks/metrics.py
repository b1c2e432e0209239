"""Metrics of a classifier, each with a bootstrap interval, and the paired bootstrap of two.

Every figure here is a function of how often each (truth, prediction) pair occurs. Drawing n
records with replacement and counting pairs is the same as drawing the counts from a
multinomial distribution over the observed pairs, so a thousand resamples cost one call and no
pass over the records (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from feilun.core.artifacts import Gain, Interval
from feilun.core.i18n import N_

RESAMPLES = 2000
Counts = np.ndarray
"""Confusion counts `[..., truth, predicted]`; the last predicted column is «no answer»."""

METRIC_NAMES = {
    "accuracy": N_("accuracy"),
    "macro_f1": N_("macro_f1"),
    "calibration_error": N_("calibration_error"),
}
"""The metrics' names as messages, so that every language has its own."""


class Evaluation(NamedTuple):
    """`metrics` by name; `per_label[label]` has precision, recall and f1."""

    metrics: dict[str, Interval]
    per_label: dict[str, dict[str, Interval]]
    confusion: dict[str, dict[str, int]]


def confusion(
    truth: Sequence[str], predicted: Sequence[str | None], labels: Sequence[str]
) -> Counts:
    """Counts `[truth, predicted]`, one column more than `labels` for None or unknown labels;
    rows whose truth is not in `labels` count in no row but the last."""
    column = {label: i for i, label in enumerate(labels)}
    size = len(labels) + 1
    pairs = [
        column.get(t, size - 1) * size + (size - 1 if p is None else column.get(p, size - 1))
        for t, p in zip(truth, predicted, strict=True)
    ]
    return np.bincount(np.array(pairs, dtype=np.int64), minlength=size * size).reshape(size, size)


def accuracy(counts: Counts) -> np.ndarray:
    """The share of records answered with their true label, in [0, 1]."""
    right = np.trace(counts[..., :-1, :-1], axis1=-2, axis2=-1)
    result: np.ndarray = right / np.maximum(counts.sum(axis=(-2, -1)), 1)
    return result


def precision(counts: Counts) -> np.ndarray:
    """Per label `[..., label]`: right answers / answers with that label; 0 when never given."""
    return _share(_right(counts), counts.sum(axis=-2)[..., :-1])


def recall(counts: Counts) -> np.ndarray:
    """Per label `[..., label]`: right answers / records with that label; 0 when there are none."""
    return _share(_right(counts), counts.sum(axis=-1)[..., :-1])


def f1(counts: Counts) -> np.ndarray:
    """Per label: the harmonic mean of precision and recall."""
    given = counts.sum(axis=-2)[..., :-1] + counts.sum(axis=-1)[..., :-1]
    return _share(2 * _right(counts), given)


def macro_f1(counts: Counts) -> np.ndarray:
    """The mean of `f1` over the labels that occur as truth or answer."""
    occurs = (counts.sum(axis=-2) + counts.sum(axis=-1))[..., :-1] > 0
    result: np.ndarray = f1(counts).sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1)
    return result


METRICS: dict[str, Callable[[Counts], np.ndarray]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
}


def evaluate(
    truth: Sequence[str],
    predicted: Sequence[str | None],
    labels: Sequence[str],
    *,
    seed: int,
    confidence: float = 0.95,
) -> Evaluation:
    """Every metric with its percentile bootstrap interval at `confidence`."""
    counts = confusion(truth, predicted, labels)
    drawn = _resample(counts.reshape(-1), seed).reshape(-1, *counts.shape)

    def interval(value: np.ndarray, resampled: np.ndarray) -> Interval:
        low, high = _ends(resampled, confidence)
        return Interval(float(value), low, high)

    per_label: dict[str, dict[str, Interval]] = {label: {} for label in labels}
    for name, figure in {"precision": precision, "recall": recall, "f1": f1}.items():
        values, resampled = figure(counts), figure(drawn)
        for i, label in enumerate(labels):
            per_label[label][name] = interval(values[i], resampled[:, i])
    columns = [*labels, ""]
    return Evaluation(
        {name: interval(figure(counts), figure(drawn)) for name, figure in METRICS.items()},
        per_label,
        {
            row: {column: int(counts[i, j]) for j, column in enumerate(columns) if counts[i, j]}
            for i, row in enumerate(columns)
            if counts[i].any()
        },
    )


def gain(
    truth: Sequence[str],
    candidate: Sequence[str | None],
    other: Sequence[str | None],
    *,
    metric: str,
    against: str,
    seed: int,
    confidence: float = 0.95,
) -> Gain:
    """`candidate`'s lead over `other` in `metric` on the same records, from a paired bootstrap:
    both answers to a record are drawn together, so what is hard for both cancels out."""
    labels = sorted({*truth, *(p for p in (*candidate, *other) if p is not None)})
    size = len(labels) + 1
    column = {label: i for i, label in enumerate(labels)}

    def coded(answers: Sequence[str | None]) -> np.ndarray:
        return np.array([size - 1 if a is None else column[a] for a in answers], dtype=np.int64)

    t, c, o = coded(truth), coded(candidate), coded(other)
    triples, counts = np.unique((t * size + c) * size + o, return_counts=True)
    drawn = np.vstack([counts[None, :], _resample(counts, seed)])
    figure = METRICS[metric]
    values = []
    for pair in ((triples // size), (triples // size**2) * size + triples % size):
        cells = np.zeros((len(drawn), size * size))
        for j, cell in enumerate(pair):
            cells[:, cell] += drawn[:, j]
        values.append(figure(cells.reshape(-1, size, size)))
    lead = values[0] - values[1]
    low, high = _ends(lead[1:], confidence)
    return Gain(metric=metric, against=against, delta=float(lead[0]), low=low, high=high)


def _resample(counts: np.ndarray, seed: int) -> np.ndarray:
    total = int(counts.sum())
    if total == 0:
        return np.zeros((RESAMPLES, len(counts)), dtype=np.int64)
    return np.random.default_rng(seed).multinomial(total, counts / total, size=RESAMPLES)


def _ends(values: np.ndarray, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _right(counts: Counts) -> np.ndarray:
    return np.diagonal(counts[..., :-1, :-1], axis1=-2, axis2=-1)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
    return result
