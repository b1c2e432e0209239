"""Rows of a database or a JSON answer → raw chunks (`layouts`) → records."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from feilun.stages.collect import layouts
from feilun.stages.collect.names import Layout
from feilun.stages.collect.source import Quarantine

_DTYPES: dict[frozenset[type], pl.DataType] = {
    frozenset(): pl.String(),
    frozenset({str}): pl.String(),
    frozenset({bool}): pl.Boolean(),
    frozenset({int}): pl.Int64(),
    frozenset({float}): pl.Float64(),
    frozenset({int, float}): pl.Float64(),
    frozenset({date}): pl.Date(),
}


def raw_chunk(names: Sequence[str], columns: Iterable[Sequence[Any]], first: int) -> pl.DataFrame:
    """The columns as a frame, with `_row` counted from `first`.

    Values of one type keep it; dates with a time are UTC (one without a zone is taken for UTC);
    what is nested becomes compact JSON; mixed types become text. Bytes are text in UTF-8, or
    null where they are none; a lone surrogate, which is no character, becomes «?». A second
    column of one name gets a number.
    """
    series: list[pl.Series] = []
    taken: set[str] = set()
    for name, values in zip(names, columns, strict=True):
        free, number = name, 2
        while free in taken:
            free, number = f"{name}_{number}", number + 1
        taken.add(free)
        series.append(_series(free, values))
    frame = pl.DataFrame(series)
    return frame.with_columns(pl.int_range(first, first + frame.height).alias("_row"))


class Shaping:
    """Makes records of raw chunks.

    What is guessed, is guessed from the first chunk of the first turn and kept in `guessed`:
    a later turn, which may bring one row, goes by it. In a `sparse` source a chunk may lack
    columns that all of its rows left out.
    """

    def __init__(
        self,
        layout: Layout,
        columns: dict[str, str],
        where: str,
        guessed: dict[str, Any] | None,
        *,
        sparse: bool = False,
    ) -> None:
        self._layout = layout
        self._columns = columns
        self._where = where
        self._sparse = sparse
        self.guessed = guessed

    def records(self, chunk: pl.DataFrame, quarantine: Quarantine) -> pl.DataFrame:
        """The records in `chunk`; raises `ColumnMissing`, `ColumnUnclear`."""
        if self.guessed is None:
            layout = (
                layouts.detect(chunk, self._columns) if self._layout == "auto" else self._layout
            )
            columns = layouts.resolved(chunk, layout, self._columns, self._where)
            self.guessed = {"layout": layout, "columns": columns}
        layout, columns = self.guessed["layout"], self.guessed["columns"]
        if self._sparse:
            missing = sorted(set(columns.values()) - set(chunk.columns))
            chunk = chunk.with_columns(pl.lit(None, dtype=pl.String).alias(n) for n in missing)
        return layouts.shaped(chunk, layout, columns, self._where, quarantine)


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    kinds = frozenset(map(type, values)) - {type(None)}
    if kinds == {datetime}:
        moments = [None if value is None else _utc(value) for value in values]
        return pl.Series(name, moments, dtype=pl.Datetime("us", "UTC"))
    dtype = _DTYPES.get(kinds)
    if dtype is not None:
        try:
            return pl.Series(name, values, dtype=dtype)
        except (OverflowError, TypeError, UnicodeEncodeError):
            pass  # an integer of more than 64 bits, a lone surrogate
    return pl.Series(name, [_text(value) for value in values], dtype=pl.String)


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes | bytearray | memoryview):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return str(value).encode("utf-8", "replace").decode()
