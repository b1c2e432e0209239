"""How far a source has been read: a value and what belongs to it, kept between turns."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _


class WatermarkUnusable(Invalid):
    """The watermark column holds something that has no order between turns."""

    def __init__(self, where: str, column: str, kind: str) -> None:
        super().__init__(
            _("{where}: the watermark '{column}' holds a value of type {kind}.").format(
                where=where, column=shortened(column), kind=kind
            ),
            remedy=_(
                "Set watermark under [[collect.sources]] to a column of numbers, texts or dates "
                "that only grows."
            ),
        )


# `datetime` is a `date` too, so it stands first; `bool` an `int`, so types are compared exactly.
_WRITTEN: dict[type, Any] = {
    datetime: datetime.isoformat,
    date: date.isoformat,
    int: int,
    float: float,
    str: str,
    Decimal: str,
    bytes: bytes.hex,
}
_READ: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "int": int,
    "float": float,
    "str": str,
    "Decimal": Decimal,
    "bytes": bytes.fromhex,
}


def written(value: Any, where: str, column: str) -> dict[str, Any]:
    """`value` with its type, as JSON can hold it; raises `WatermarkUnusable`."""
    write = _WRITTEN.get(type(value))
    if write is None:
        raise WatermarkUnusable(where, column, type(value).__name__)
    return {"type": type(value).__name__, "value": write(value)}


def read(found: dict[str, Any] | None) -> Any:
    """The value that `written` wrote; None for None."""
    return None if found is None else _READ[found["type"]](found["value"])


def packed(state: dict[str, Any]) -> str | None:
    """What a source keeps between turns as the watermark of a piece: JSON, equal for equal
    states, without what is empty; None when nothing is left."""
    kept = {name: value for name, value in state.items() if value}
    return json.dumps(kept, ensure_ascii=False, sort_keys=True) if kept else None


def unpacked(text: str | None) -> dict[str, Any]:
    """The state that `packed` wrote; empty for None."""
    found: dict[str, Any] = json.loads(text) if text else {}
    return found
