"""How far a distribution has moved, and whether chance alone would move it as far.

Two versions of a dataset share most of their records, so they are no two samples, and the usual
test of one against the other would call nearly every shift chance. What is tested instead is
whether label (or length) has to do with being shared: each record counts once, as one that only
the first version has, that both have, or that only the second has. If records came and went
without regard to their label, these groups are random parts of the union.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

PERMUTATIONS = 1999
"""Random partings that the real one is compared with: a p-value is 1/2000 at least."""
_SEED = 20_210_301


class Labels(NamedTuple):
    """The labels of a split then and now: `counts` by label (first, second), the total variation
    `distance` between their shares (0: the same, 1: nothing in common), and the p-value `p` of a
    permutation test (None: no record came or went, or there is one label only)."""

    counts: dict[str, tuple[int, int]]
    distance: float
    p: float | None


class Lengths(NamedTuple):
    """The numbers of characters then and now: their means (first, second), the largest
    `distance` between their distribution functions (Kolmogorov-Smirnov), and its p-value `p` for
    what came against what was there (nothing came: what went against what stayed; None:
    neither). Equal lengths make it larger than it is: it errs towards chance."""

    means: tuple[float, float]
    distance: float
    p: float | None


def labels_shift(names: list[str], groups: np.ndarray) -> Labels:
    """From `groups`, int64 `[3, labels]`: how many records of each label only the first version
    has, both have, only the second has."""
    first, second = groups[0] + groups[1], groups[1] + groups[2]
    counts = {
        name: (int(a), int(b)) for name, a, b in zip(names, first, second, strict=True) if a or b
    }
    return Labels(counts, _variation(first, second), _permutation_p(groups))


def lengths_shift(gone: np.ndarray, both: np.ndarray, new: np.ndarray) -> Lengths:
    """From the lengths of the records that only the first version has, both have, only the
    second has."""
    first, second = np.concatenate([gone, both]), np.concatenate([both, new])
    tested = (first, new) if len(new) else (both, gone)
    return Lengths((_mean(first), _mean(second)), _smirnov(first, second), _smirnov_p(*tested))


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _variation(first: np.ndarray, second: np.ndarray) -> float:
    if first.sum() == 0 or second.sum() == 0:
        return 0.0 if first.sum() == second.sum() else 1.0
    return float(np.abs(first / first.sum() - second / second.sum()).sum() / 2)


def _permutation_p(groups: np.ndarray) -> float | None:
    """The share of random partings of the union, into groups of these sizes, whose chi-square
    statistic is as large as the real one's; exact but for the number of draws, however few
    records a label has. The draws are the same for the same table."""
    table = groups[groups.sum(axis=1) > 0][:, groups.sum(axis=0) > 0]
    if min(table.shape) < 2:
        return None
    draw = np.random.default_rng(_SEED)
    sizes, totals = table.sum(axis=1), table.sum(axis=0)
    first = draw.multivariate_hypergeometric(
        totals, sizes[0], size=PERMUTATIONS, method="marginals"
    )
    drawn, left = [first], totals - first
    if len(sizes) == 3:
        second = [
            draw.multivariate_hypergeometric(row, sizes[1], method="marginals") for row in left
        ]
        drawn.append(np.stack(second))
        left = left - drawn[1]
    tables = np.stack([*drawn, left], axis=1)
    expected = sizes[:, None] * totals / totals.sum()
    real = float(((table - expected) ** 2 / expected).sum())
    random = ((tables - expected) ** 2 / expected).sum(axis=(1, 2))
    # Sums in another order differ by rounding: what is equal must count as equal.
    return (1 + int((random >= real * (1 - 1e-9)).sum())) / (1 + PERMUTATIONS)


def _smirnov(one: np.ndarray, two: np.ndarray) -> float:
    if len(one) == 0 or len(two) == 0:
        return 0.0 if len(one) == len(two) else 1.0
    one, two = np.sort(one), np.sort(two)
    at = np.union1d(one, two)
    below = np.searchsorted(one, at, side="right") / len(one)
    other = np.searchsorted(two, at, side="right") / len(two)
    return float(np.abs(below - other).max())


def _smirnov_p(one: np.ndarray, two: np.ndarray) -> float | None:
    """Kolmogorov's limit distribution with Stephens' correction for small samples (Stephens,
    "Use of the Kolmogorov-Smirnov, Cramér-von Mises and related statistics without extensive
    tables", JRSS B 1970)."""
    if len(one) == 0 or len(two) == 0:
        return None
    effective = math.sqrt(len(one) * len(two) / (len(one) + len(two)))
    at = (effective + 0.12 + 0.11 / effective) * _smirnov(one, two)
    if at < 0.2:
        # The series no longer converges there; the value is 1 to twelve digits.
        return 1.0
    terms = ((-1) ** (k - 1) * math.exp(-2 * k * k * at * at) for k in range(1, 101))
    return min(max(2 * math.fsum(terms), 0.0), 1.0)
