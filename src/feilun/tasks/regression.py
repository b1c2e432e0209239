"""Metrics of numbers, each with a bootstrap interval, and the paired bootstrap of two models."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from feilun.core.artifacts import Gain
from feilun.tasks.bootstrap import RESAMPLES, draws, interval
from feilun.tasks.metrics import ERRORS
from feilun.tasks.task import Evaluation

METRICS = ("mae", "rmse", "r2", "spearman")
_NOTHING = 1e-12
"""A variance is none when it is this share of the mean square: rounding."""


def evaluate(
    truth: Sequence[float], answers: Sequence[float | None], *, seed: int, confidence: float
) -> Evaluation:
    """`mae` and `rmse` (in the unit of the truth), `r2` and `spearman` (at most 1), with their
    intervals."""
    found = figures(truth, answers, METRICS, seed)
    return Evaluation({name: interval(found[name], confidence) for name in METRICS}, {}, {})


def gain(
    truth: Sequence[float],
    candidate: Sequence[float | None],
    other: Sequence[float | None],
    *,
    metric: str,
    against: str,
    seed: int,
    confidence: float,
) -> Gain:
    """By how much `candidate` is better than `other`: less of an error, more of the others. Both
    answers to a record are drawn together."""
    # The same seed draws the same records.
    one, two = (figures(truth, a, (metric,), seed)[metric] for a in (candidate, other))
    lead = two - one if metric in ERRORS else one - two
    delta, low, high = interval(lead, confidence)
    return Gain(metric=metric, against=against, delta=delta, low=low, high=high)


def filled(truth: np.ndarray, answers: Sequence[float | None]) -> np.ndarray:
    """The answers, float64; where there was none, the median of those that the model gave.

    That is what would stand there if somebody had to put something, knowing the model and not
    the truth: it takes nothing from the test, and cannot be better than the best constant. A
    model that answers nothing is as wrong as can be: every text gets the end of the truth's
    range that is farther off.
    """
    given = np.array([np.nan if a is None else a for a in answers], dtype=np.float64)
    none = np.isnan(given)
    if none.all() and len(truth):
        low, high = truth.min(), truth.max()
        given = np.where(truth - low > high - truth, low, high)
    elif none.any():
        given[none] = np.median(given[~none])
    return given


def figures(
    truth: Sequence[float], answers: Sequence[float | None], names: Iterable[str], seed: int
) -> dict[str, np.ndarray]:
    """Metrics by name, `[1 + resamples]`: as observed, then in every resample."""
    t = np.array(truth, dtype=np.float64)
    a = filled(t, answers)
    if len(t) == 0:
        return {name: np.zeros(1) for name in names}
    found: dict[str, np.ndarray] = {}
    wanted = set(names)
    ones = np.ones(len(t), dtype=np.int64)
    if wanted - {"spearman"}:
        centred, miss = t - t.mean(), np.abs(t - a)
        columns = (miss, miss**2, centred, centred**2)
        # Not a matrix product: its last bits may differ with the number of threads.
        summed = [
            np.stack([np.einsum("rn,n->r", block, column) for column in columns])
            for block in (ones[None, :].astype(np.float64), *draws(ones, seed))
        ]
        found |= _of_sums(np.concatenate(summed, axis=1), len(t))
    if "spearman" in wanted:
        ranked = Ranked(t, a)
        blocks = (ones[None, :].astype(np.float64), *draws(ones, seed, RESAMPLES // 4))
        found["spearman"] = np.concatenate([ranked.correlation(block) for block in blocks])
    return {name: found[name] for name in METRICS if name in wanted}


def _of_sums(summed: np.ndarray, num_records: int) -> dict[str, np.ndarray]:
    miss, squared, centred, spread = summed
    variance = spread - centred**2 / num_records
    flat = variance <= _NOTHING * spread
    # As scikit-learn has it: of a constant truth nothing is left to explain.
    r2 = np.where(flat, squared == 0, 1 - squared / np.where(flat, 1.0, variance))
    return {"mae": miss / num_records, "rmse": np.sqrt(squared / num_records), "r2": r2}


class Ranked:
    """Two columns of numbers, sorted once, whose rank correlation is wanted for many resamples."""

    def __init__(self, one: np.ndarray, two: np.ndarray) -> None:
        self._sides = [np.unique(column, return_inverse=True)[1] for column in (one, two)]
        self._orders = [np.argsort(groups, kind="stable") for groups in self._sides]

    def correlation(self, weights: np.ndarray) -> np.ndarray:
        """Spearman's correlation `[resamples]`; `weights` `[resamples, records]` says how often
        each record is there. Equal numbers share the mean of their ranks. 1 where both columns
        are constant, for no pair is in the wrong order; 0 where one is."""
        total = weights.sum(axis=1, keepdims=True)
        deviations, variances = [], []
        for groups, order in zip(self._sides, self._orders, strict=True):
            starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
            held = np.add.reduceat(weights[:, order], starts, axis=1)
            # Middle of the group, less the middle of all.
            middle = np.cumsum(held, axis=1) - held / 2 - total / 2
            variances.append(np.einsum("rg,rg->r", held, middle**2))
            deviations.append(middle[:, groups])
        shared = np.einsum("rn,rn,rn->r", weights, *deviations)
        one, two = variances
        product = np.sqrt(one * two)
        constant = np.where((one == 0) & (two == 0), 1.0, 0.0)
        result: np.ndarray = np.where(product > 0, shared / np.maximum(product, 1e-300), constant)
        return result.clip(-1.0, 1.0)
