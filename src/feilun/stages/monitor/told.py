"""A comparison with the reference, as a signal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from feilun.core.message import Message
from feilun.stages.monitor.detector import Level, Signal, Window
from feilun.stages.monitor.null import FEWEST

if TYPE_CHECKING:
    from feilun.stages.monitor.reference import Column, Compared


def column(window: Window, name: str, values: Sequence[Any]) -> Column | None:
    """The reference's column, where there is one and there are rows enough to compare."""
    if window.reference is None or len(values) < FEWEST:
        return None
    return window.reference.columns.get(name)


def compared(window: Window, name: str, values: Sequence[Any]) -> Compared | None:
    """The values against the reference's column; None where they cannot be compared."""
    found = column(window, name, values)
    return None if found is None else found.compared(values, window.alpha)


def signal(detector: str, name: str, found: Compared, template: str, **more: JsonValue) -> Signal:
    """The signal of a comparison; the template may name `value`, `threshold` and `count`."""
    values = {"value": found.distance, "threshold": found.threshold, "count": found.num_rows}
    return Signal(
        name,
        found.distance,
        Level.WARNING if found.moved else Level.OK,
        Message(template=template, values={**values, **more}),
        found.threshold,
        detector,
    )
