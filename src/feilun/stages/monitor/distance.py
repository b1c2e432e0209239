"""How far two sets of rows are apart: the statistics that the tests of the monitor compare.

Each takes the means of rows, float64 `[..., columns]`, and how many rows they are of; more is
further apart. `PSI` and `JS` expect rows of zeros and ones, `KS` their ones below a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum

import numpy as np


class Distance(StrEnum):
    """A statistic. `PSI`: the population stability index, the sum of both relative entropies.
    `JS`: the Jensen-Shannon divergence in bits, 0 to 1 (Lin, Divergence measures based on the
    Shannon entropy, 1991). `KS`: the largest difference of the distribution functions. `MMD`: the
    squared maximum mean discrepancy under the linear kernel of the rows (Gretton et al., A kernel
    two-sample test, 2012, its biased estimate)."""

    PSI = "psi"
    JS = "js"
    KS = "ks"
    MMD = "mmd"


Means = np.ndarray
_Of = Callable[[Means, Means, int, int], np.ndarray]


def distance(kind: Distance, one: Means, two: Means, num_one: int, num_two: int) -> np.ndarray:
    """The statistic of means of `num_one` rows and of `num_two` rows: `[...]`."""
    return _KINDS[kind](one, two, num_one, num_two)


def scale(kind: Distance, num_one: int, num_two: int) -> float:
    """What to multiply the statistic with, so that its law without a difference hardly depends
    on the numbers of rows."""
    effective = num_one * num_two / (num_one + num_two)
    return math.sqrt(effective) if kind is Distance.KS else effective


def _shares(means: Means, num_rows: int) -> np.ndarray:
    """Half a row more in each column (Jeffreys' prior), so that no share is 0; sums to 1."""
    counts = means * num_rows + 0.5
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def _psi(one: Means, two: Means, num_one: int, num_two: int) -> np.ndarray:
    p, q = _shares(one, num_one), _shares(two, num_two)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def _js(one: Means, two: Means, num_one: int, num_two: int) -> np.ndarray:
    p, q = _shares(one, num_one), _shares(two, num_two)
    middle = (p + q) / 2
    found = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum(axis=-1) / 2
    return np.asarray(found)


def _ks(one: Means, two: Means, _num_one: int, _num_two: int) -> np.ndarray:
    return np.asarray(np.abs(one - two).max(axis=-1))


def _mmd(one: Means, two: Means, _num_one: int, _num_two: int) -> np.ndarray:
    return np.asarray(((one - two) ** 2).sum(axis=-1))


_KINDS: Mapping[Distance, _Of] = {
    Distance.PSI: _psi,
    Distance.JS: _js,
    Distance.KS: _ks,
    Distance.MMD: _mmd,
}
