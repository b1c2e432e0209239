"""Which columns of a file play which roles, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from feilun.stages.collect.columns import ColumnMissing, guess_columns
from feilun.stages.collect.names import NAMES, PAIRS, REQUIRED

if TYPE_CHECKING:
    import polars as pl

ROW = "_row"
"""The column of a raw chunk with each row's place in its file."""


def by_name(names: Sequence[str]) -> dict[str, str]:
    """The columns by their name in lower case, without white space around it."""
    return {name.strip().lower(): name for name in reversed(names) if name != ROW}


def pair_in(names: Mapping[str, str]) -> dict[str, str] | None:
    """The columns of a pair of texts, by role, if two of `names` (see `by_name`) go together."""
    for first, second in PAIRS:
        if first in names and second in names:
            return {"first": names[first], "second": names[second]}
    return None


def resolved(
    chunk: pl.DataFrame, layout: str, columns: Mapping[str, str], where: str
) -> dict[str, str]:
    """Role → column; see `feilun.stages.collect.layouts.resolved`."""
    known = [name for name in chunk.columns if name != ROW]
    for column in columns.values():
        if column not in known and layout != "label_studio":
            raise ColumnMissing(where, column, known)
    if layout == "labelled":
        if "text" in columns:
            return dict(columns)
        return {**guess_columns(chunk.drop(ROW, strict=False), where, columns), **columns}
    if layout == "conll" and "tokens" not in by_name(known) and "text" in known:
        return {"text": "text"}  # one row per line of a text file
    names = by_name(known)
    found = dict(columns)
    if layout == "pairs" and not found.keys() & {"first", "second"}:
        found |= pair_in(names) or {}
    for role, usual in NAMES[layout].items():
        if role not in found:
            free = (names[n] for n in usual if n in names and names[n] not in found.values())
            first = next(free, None)
            if first is not None:
                found[role] = first
    for role in REQUIRED.get(layout, ()):
        if role not in found:
            raise ColumnMissing(where, role, known)
    return found
