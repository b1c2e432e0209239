"""JSON objects as the rows of a table: every value is text, numbers exactly as they stood."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import polars as pl

from feilun.stages.collect.reading.header import ROW, named_apart

MOST_DEEP = 100
"""How deep lists and objects of a record may lie in each other."""
_MOST_KEYS = 10_000
_MOST_CELLS = 8_000_000
_MARK = "\udc80"
_NUMBER = re.compile(f'"{_MARK}' + r'(-?[0-9][0-9.eE+-]*)"')
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)
_CONSTANTS = {"NaN": None, "Infinity": "Infinity", "-Infinity": "-Infinity"}

_DECODER = json.JSONDecoder(
    # 1e5 is not 100000.0, nor is a number of 30 digits a float: numbers stay what was written,
    # behind a mark that no text can have. Polars' NDJSON has parsed them when it casts them.
    parse_int=_MARK.__add__,
    parse_float=_MARK.__add__,
    parse_constant=_CONSTANTS.get,
)
scan: Callable[[str, int], tuple[Any, int]] = _DECODER.scan_once  # type: ignore[attr-defined]
"""The value that begins at a place in a text, and where it ends; numbers with our mark."""

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
Quarantine = Callable[[int, str, "str | bytes"], None]


class Rows:
    """Objects that become one frame; what cannot goes to the quarantine."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine
        self._rows: list[dict[str, Any]] = []
        self._numbers: list[int] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, number: int, raw: str) -> None:
        """Adds the row that the JSON text `raw` is."""
        try:
            value, end = scan(raw, 0)
            reason = "" if end == len(raw) else "not_json"
        except (StopIteration, ValueError):
            reason = "not_json"
        except RecursionError:
            reason = "too_deep"
        if reason:
            self._quarantine(number, reason, raw)
        else:
            self.add_value(number, value)

    def add_value(self, number: int, value: Any) -> None:
        """Adds a row that `scan` has made."""
        if type(value) is not dict:
            self._quarantine(number, "not_an_object", _as_text(value) or "null")
        elif len(value) > _MOST_KEYS:
            self._quarantine(number, "ragged", ", ".join(list(value)[:20]))
        else:
            self._rows.append(value)
            self._numbers.append(number)

    def taken(self) -> list[pl.DataFrame]:
        """The frames of what was added, which is then forgotten; more than one only where
        the rows have so many different keys that most cells would be empty."""
        rows, numbers = self._rows, self._numbers
        self._rows, self._numbers = [], []
        return self._frames(rows, numbers) if rows else []

    def _frames(self, rows: list[dict[str, Any]], numbers: list[int]) -> list[pl.DataFrame]:
        keys: dict[str, None] = {}
        for row in rows:
            if not row.keys() <= keys.keys():
                keys.update(dict.fromkeys(row))
        if len(keys) * len(rows) > _MOST_CELLS and len(rows) > 1:
            half = len(rows) // 2
            return [
                *self._frames(rows[:half], numbers[:half]),
                *self._frames(rows[half:], numbers[half:]),
            ]
        try:
            columns = [_column(key, rows) for key in keys]
            named = dict(zip(named_apart(keys), columns, strict=True))
            frame = pl.DataFrame({**named, ROW: pl.Series(numbers, dtype=pl.Int64)})
        except (UnicodeEncodeError, RecursionError):
            good = [at for at, row in enumerate(rows) if self._is_good(numbers[at], row)]
            return self._frames([rows[at] for at in good], [numbers[at] for at in good])
        return [frame] if rows else []

    def _is_good(self, number: int, row: dict[str, Any]) -> bool:
        try:
            for key, value in row.items():
                (key + (_as_text(value) or "")).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            reason = "too_deep" if isinstance(error, RecursionError) else "not_text"
            self._quarantine(number, reason, _printable(row))
            return False
        return True


def _column(key: str, rows: list[dict[str, Any]]) -> pl.Series:
    values = [row.get(key) for row in rows]
    try:
        return pl.Series(values, dtype=pl.String)
    except (TypeError, UnicodeEncodeError):
        pass
    try:
        texts = [None if value is None else value.removeprefix(_MARK) for value in values]
    except AttributeError:
        texts = [_as_text(value) for value in values]
    return pl.Series(texts, dtype=pl.String)


def _as_text(value: Any) -> str | None:
    """Text of a value from `scan`; raises `RecursionError` beyond `MOST_DEEP`."""
    if value is None:
        return None
    if type(value) is str:
        return value[1:] if value.startswith(_MARK) else value
    if type(value) is bool:
        return "true" if value else "false"
    written = _compact(value)
    if _MARK in written:
        written = _NUMBER.sub(r"\1", written)
    if written.count("[") + written.count("{") > MOST_DEEP and _depth(written) > MOST_DEEP:
        raise RecursionError
    return written


def _depth(written: str) -> int:
    depth = deepest = 0
    for match in _STRING_OR_BRACKET.finditer(written):
        sign = match[0]
        if sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "]}":
            depth -= 1
    return deepest


def _printable(row: dict[str, Any]) -> str:
    try:
        written = json.dumps(row, ensure_ascii=False)
    except RecursionError:
        return "…"
    return written.replace(_MARK, "").encode("utf-8", "replace").decode()
