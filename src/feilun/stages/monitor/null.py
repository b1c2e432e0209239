"""What a statistic does by chance alone: the law that thresholds are read from.

It is fitted once, from the reference itself: windows of several sizes, and references, are drawn
from the reference's rows with replacement (Efron and Tibshirani, An Introduction to the Bootstrap,
1993, ch. 16), and the statistic of each pair is kept as quantiles. Beyond the largest twentieth of
the draws the quantiles come from an exponential tail of the mean excess: a thousandth cannot be
read off 2,000 draws, and the laws of these statistics fall at least that fast.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from feilun.stages.monitor.distance import Distance, distance, scale

SIZES = (30, 100, 300, 1000)
"""Of the windows that are drawn; between them is interpolated."""
FEWEST = SIZES[0]
"""Rows that a window must have for a test."""
DRAWS = 2000
ROWS = 1000
"""Of the reference, from which is drawn."""
_TAIL = 0.05
_BLOCK = 250
_FEW = 100
"""Different rows below which the multinomial law is the faster way to draw."""
LEVELS = np.array([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3, 1e-4, 1e-5, 1e-6])
"""Chances that the quantiles belong to; between them is interpolated, in the logarithm."""


class Null(NamedTuple):
    """The law of a scaled statistic: `table[i, j]` is exceeded with the chance `LEVELS[j]` by a
    window of `SIZES[i]` rows (float64)."""

    table: np.ndarray

    def threshold(self, chance: float, num_rows: int) -> float:
        """What the scaled statistic of a window of `num_rows` exceeds with that chance."""
        row = self._row(num_rows)
        return float(np.interp(-math.log(max(chance, LEVELS[-1])), -np.log(LEVELS), row))

    def chance(self, scaled: float, num_rows: int) -> float:
        """How often chance alone gives as much or more: the p-value, at least `LEVELS[-1]`."""
        row = self._row(num_rows)
        # Equal quantiles (a column of one value) would leave the lookup undecided.
        rising = np.maximum.accumulate(row + 1e-15 * np.arange(len(row)))
        return float(np.exp(np.interp(scaled, rising, np.log(LEVELS))))

    def _row(self, num_rows: int) -> np.ndarray:
        at = float(np.interp(math.log(max(num_rows, 1)), np.log(SIZES), np.arange(len(SIZES))))
        low = int(at)
        high = min(low + 1, len(SIZES) - 1)
        return np.asarray(self.table[low] + (at - low) * (self.table[high] - self.table[low]))


def fitted(kind: Distance, rows: np.ndarray, num_reference: int, seed: int) -> Null:
    """The law of the statistic for windows drawn from `rows` (`[rows, columns]`, the first `ROWS`
    are used) against a reference of `num_reference` rows; the same for the same arguments."""
    random = np.random.default_rng(seed)
    rows = np.ascontiguousarray(rows[:ROWS], dtype=np.float32)
    # Of few different rows it is drawn how often each comes: histograms take no time at all.
    counts = np.ones(len(rows), dtype=np.int64)
    if kind is not Distance.MMD:
        rows, counts = np.unique(rows, axis=0, return_counts=True)
    given = _Rows(rows, counts)
    references = np.concatenate(list(_means(given, num_reference, random)))
    table = np.empty((len(SIZES), len(LEVELS)))
    for at, size in enumerate(SIZES):
        found = []
        for block, means in enumerate(_means(given, size, random)):
            other = references[block * _BLOCK : block * _BLOCK + len(means)]
            found.append(distance(kind, means, other, size, num_reference))
        table[at] = _quantiles(np.concatenate(found) * scale(kind, size, num_reference))
    return Null(table)


class _Rows(NamedTuple):
    """Different rows, float32, and how often each stands in the reference, int64."""

    rows: np.ndarray
    counts: np.ndarray


def _means(given: _Rows, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """`DRAWS` means of `size` rows each, in blocks float64 `[some, columns]`."""
    num, total = len(given.rows), int(given.counts.sum())
    owners = np.arange(_BLOCK)[:, None] * num
    for _first in range(0, DRAWS, _BLOCK):
        if num < _FEW:
            drawn = random.multinomial(size, given.counts / total, size=_BLOCK)
        else:
            at = np.repeat(np.arange(num), given.counts)
            picked = at[random.integers(0, total, size=(_BLOCK, size))] + owners
            drawn = np.bincount(picked.ravel(), minlength=_BLOCK * num).reshape(_BLOCK, num)
        yield (drawn.astype(np.float32) @ given.rows).astype(np.float64) / size


def _quantiles(found: np.ndarray) -> np.ndarray:
    ordered = np.quantile(found, 1 - LEVELS)
    start = float(np.quantile(found, 1 - _TAIL))
    excess = found[found > start] - start
    mean = float(excess.mean()) if len(excess) else 0.0
    tail = LEVELS < _TAIL
    ordered[tail] = np.maximum(start + mean * np.log(_TAIL / LEVELS[tail]), start)
    return np.asarray(ordered)
