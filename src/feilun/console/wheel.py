"""The geometry of the drawn wheel and of the interval charts; only numbers, no markup."""

from __future__ import annotations

import math
from typing import NamedTuple

from feilun.core.artifacts import Interval

SIZE = 400
_CENTRE = SIZE / 2
_OUTER, _INNER = 192.0, 112.0
_GAP_DEGREES = 2.0
_POINT_DEGREES = 6.0


class Segment(NamedTuple):
    """One eighth of the wheel: the path of its outline and where its name stands."""

    path: str
    x: float
    y: float


class Bar(NamedTuple):
    """An interval on a scale from 0 to 100."""

    low: float
    value: float
    high: float


def segments(count: int) -> list[Segment]:
    """The pieces of the ring, clockwise from the top; each points to the next."""
    step = 360 / count
    return [_segment(number * step, (number + 1) * step - _GAP_DEGREES) for number in range(count)]


def _segment(start: float, end: float) -> Segment:
    middle = (_OUTER + _INNER) / 2
    corners = [
        _point(_OUTER, start),
        _point(_OUTER, end),
        _point(middle, end + _POINT_DEGREES),
        _point(_INNER, end),
        _point(_INNER, start),
        _point(middle, start + _POINT_DEGREES),
    ]
    a, b, tip, c, d, notch = (f"{x:.1f} {y:.1f}" for x, y in corners)
    path = (
        f"M{a}A{_OUTER:.0f} {_OUTER:.0f} 0 0 1 {b}L{tip}L{c}"
        f"A{_INNER:.0f} {_INNER:.0f} 0 0 0 {d}L{notch}Z"
    )
    x, y = _point(middle, (start + end + _POINT_DEGREES) / 2)
    return Segment(path, round(x, 1), round(y, 1))


def _point(radius: float, degrees: float) -> tuple[float, float]:
    angle = math.radians(degrees - 90)
    return _CENTRE + radius * math.cos(angle), _CENTRE + radius * math.sin(angle)


def scale(figures: list[Interval]) -> tuple[float, float]:
    """The ends of one scale for all figures: their range, widened to steps of 0.05."""
    if not figures:
        return 0.0, 1.0
    least, most = min(figure.low for figure in figures), max(figure.high for figure in figures)
    low = math.floor(least * 20 - 0.2) / 20
    high = max(math.ceil(most * 20 + 0.2) / 20, low + 0.05)
    # Shares end at 0 and 1; an error may be any number.
    return (max(low, 0.0) if least >= 0 else low), (min(high, 1.0) if most <= 1 else high)


def bar(figure: Interval, ends: tuple[float, float]) -> Bar:
    """Where the figure and its interval lie on the scale."""
    low, high = ends
    width = max(high - low, 1e-9)
    at = [
        round(100 * min(max((value - low) / width, 0), 1), 2)
        for value in (figure.low, figure.value, figure.high)
    ]
    return Bar(*at)
