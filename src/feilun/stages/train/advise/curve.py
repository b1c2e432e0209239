"""Learning curves: how an error falls with the number of records, a + b·n^−c.

The power law is Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017, and of
the forms compared by Viering and Loog, The Shape of Learning Curves, 2022, the one that
extrapolates best with few points. No single a, b and c is picked: every pair of a and c on a grid
counts by how well it explains the points and by what is usual, b is what fits best beside them.
So two points, or one, give a sensible mean and a wide interval instead of a failed fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

USUAL, AROUND = 0.35, 0.2
"""The exponents of text classifiers: mean and standard deviation of what is usual."""
_EXPONENTS = np.linspace(0.02, 1.2, 60)
_LIMITS = np.linspace(0.0, 0.99, 50)
"""What no number of records removes, as a share of the least error seen."""
_LEAST = 1e-4


class Point(NamedTuple):
    """An error to be expected, and the standard deviation of what is expected."""

    error: float
    spread: float


class Curve(NamedTuple):
    """Weighed power laws; arrays `[laws]`, `weight` sums to 1."""

    limit: np.ndarray
    scale: np.ndarray
    exponent: np.ndarray
    scale_variance: np.ndarray
    weight: np.ndarray

    def at(self, size: float) -> Point:
        """The error with `size` records."""
        reach = float(size) ** -self.exponent
        errors = self.limit + self.scale * reach
        mean = float(self.weight @ errors)
        variance = float(self.weight @ (self.scale_variance * reach**2 + (errors - mean) ** 2))
        return Point(mean, math.sqrt(variance))

    def fall(self, size: float, to: float) -> Point:
        """By how much less the error is with `to` records than with `size`."""
        near, far = float(size) ** -self.exponent, float(to) ** -self.exponent
        falls = self.scale * (near - far)
        mean = float(self.weight @ falls)
        variance = float(
            self.weight @ (self.scale_variance * (near - far) ** 2 + (falls - mean) ** 2)
        )
        return Point(mean, math.sqrt(variance))


def fitted(sizes: Sequence[float], errors: Sequence[float], spreads: Sequence[float]) -> Curve:
    """The curve through measured errors (at least one; 0 or more) with their standard
    deviations."""
    n = np.asarray(sizes, dtype=np.float64)
    seen = np.maximum(np.asarray(errors, dtype=np.float64), _LEAST)
    sure = 1 / np.maximum(np.asarray(spreads, dtype=np.float64), _LEAST) ** 2
    share, exponent = (grid.ravel() for grid in np.meshgrid(_LIMITS, _EXPONENTS, indexing="ij"))
    limit = share * seen.min()
    reach = n[None, :] ** -exponent[:, None]
    above = seen[None, :] - limit[:, None]
    curved = (sure * reach**2).sum(axis=1)
    scale = np.maximum((sure * reach * above).sum(axis=1) / curved, 0.0)
    missed = (sure * (above - scale[:, None] * reach) ** 2).sum(axis=1)
    unusual = ((exponent - USUAL) / AROUND) ** 2
    weight = np.exp(-(missed + unusual - (missed + unusual).min()) / 2)
    return Curve(limit, scale, exponent, 1 / curved, weight / weight.sum())
