"""How long training takes with more records, from how long it took with few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_TRUST, _DISTRUST = 0.1, 0.5
"""How far a measurement, and an estimate made before any, are off: standard deviations as a
share of the seconds."""


def predicted(
    work: Sequence[float], seconds: Sequence[float], whole: float, estimate: float
) -> float:
    """The seconds of `whole` work, where pieces of `work` took `seconds`: the best line through
    them (neither part below 0), among which `estimate` for the whole counts for little."""
    x = np.array([*work, whole], dtype=np.float64) / whole
    y = np.maximum(np.array([*seconds, estimate], dtype=np.float64), 1e-6)
    off = y * np.array([_TRUST] * len(seconds) + [_DISTRUST])
    # The larger a piece, the more it is like the whole.
    sure = x / off**2
    if not seconds:
        return estimate
    lines = [_line(x, y, sure), (0.0, _slope(x, y, sure)), (float(sure @ y / sure.sum()), 0.0)]
    sound = [line for line in lines if min(line) >= 0]
    start, slope = min(sound, key=lambda line: float(sure @ (y - line[0] - line[1] * x) ** 2))
    return start + slope


def _slope(x: np.ndarray, y: np.ndarray, sure: np.ndarray) -> float:
    return float((sure * x) @ y / ((sure * x) @ x))


def _line(x: np.ndarray, y: np.ndarray, sure: np.ndarray) -> tuple[float, float]:
    at, level = sure @ x / sure.sum(), sure @ y / sure.sum()
    across = float(sure @ (x - at) ** 2)
    if across <= 0:
        return 0.0, _slope(x, y, sure)
    slope = float((sure * (x - at)) @ (y - level)) / across
    return float(level - slope * at), slope
