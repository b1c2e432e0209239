"""How long training takes with more records, from how long it took with few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_TRUST, _DISTRUST = 0.05, 0.5
"""How far a measurement, and an estimate made before any, are off: standard deviations as a
share of the seconds."""

_POWERS, _BENT = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5), 0.3
"""Time grows faster than the records where more of them have more features and need more passes
(ngram, half and all of 5,400 records, in processor seconds: ratings 0.34 and 1.09, entities 1.58
and 3.94); powers that are tried, and how unusual another one than 1 is."""


def predicted(
    work: Sequence[float], seconds: Sequence[float], whole: float, estimate: float
) -> float:
    """The seconds of `whole` work, where pieces of `work` took `seconds`: start + slope · workᵖ as
    it fits them best (no part below 0). Of fewer than three pieces `estimate` for the whole is one
    more, which counts for little."""
    x = np.array([*work, whole], dtype=np.float64) / whole
    y = np.maximum(np.array([*seconds, estimate], dtype=np.float64), 1e-6)
    if not seconds:
        return estimate
    off = _TRUST * y
    # An estimate that is far too low must not be trusted the more for it.
    off[-1] = _DISTRUST * max(y[-1], y[-2] / x[-2])
    # The larger a piece, the more it is like the whole.
    sure = np.minimum(x / x[-2], 1.0) / off**2
    if len(seconds) > 2:
        sure[-1] = 0.0
    found: list[tuple[float, float]] = []
    for power in _POWERS if len(seconds) > 2 else (1.0,):
        bent = x**power
        lines = [(0.0, _slope(bent, y, sure))]
        if len(seconds) > 1:
            lines += [_line(bent, y, sure), (float(sure @ y / sure.sum()), 0.0)]
        unusual = ((power - 1) / _BENT) ** 2
        found += [
            (float(sure @ (y - start - slope * bent) ** 2) + unusual, start + slope)
            for start, slope in lines
            if min(start, slope) >= 0
        ]
    return min(found)[1]


def _slope(x: np.ndarray, y: np.ndarray, sure: np.ndarray) -> float:
    return float((sure * x) @ y / ((sure * x) @ x))


def _line(x: np.ndarray, y: np.ndarray, sure: np.ndarray) -> tuple[float, float]:
    at, level = sure @ x / sure.sum(), sure @ y / sure.sum()
    across = float(sure @ (x - at) ** 2)
    if across <= 0:
        return 0.0, _slope(x, y, sure)
    slope = float((sure * (x - at)) @ (y - level)) / across
    return float(level - slope * at), slope
