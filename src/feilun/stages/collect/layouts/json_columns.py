"""Columns as one column of JSON objects, without going through the rows."""

from __future__ import annotations

import json
from collections.abc import Collection

import polars as pl

_NUMBER = r"^-?(?:0|[1-9]\d{0,14})(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?$"
"""A text that is a number as JSON writes them. One of more digits than a double holds is an
identity (a card, an order), and 01 a code: they stay texts."""


def json_object(table: pl.DataFrame, texts: Collection[str] = ()) -> pl.Series:
    """Each row as a JSON object, keys in sorted order, no white space: the column `fields`.

    A cell that is wholly a number is one, but in the columns `texts`; empty cells are null;
    dates are ISO texts; columns of bytes are left out.
    """
    names = sorted(n for n in table.columns if not isinstance(table.schema[n], pl.Binary))
    if not names:
        return pl.Series("fields", [None] * table.height, dtype=pl.String)
    pieces: list[pl.Expr] = []
    for number, name in enumerate(names):
        key = json.dumps(name, ensure_ascii=False)
        pieces.append(pl.lit(("{" if number == 0 else ",") + key + ":"))
        kind = table.schema[name]
        pieces.append(_encoded(pl.col(name)) if name in texts else _cell(kind, pl.col(name)))
    return table.select(pl.concat_str(*pieces, pl.lit("}")).alias("fields")).to_series()


def _cell(kind: pl.DataType, column: pl.Expr) -> pl.Expr:
    if kind == pl.String:
        bare = column.str.strip_chars()
        return (
            pl.when(bare.str.contains(_NUMBER))
            .then(bare)
            .when(bare != "")
            .then(_encoded(column))
            .otherwise(pl.lit("null"))
        )
    if kind.is_decimal():
        column = column.cast(pl.Float64)
    elif isinstance(kind, pl.Duration):
        column = column.dt.total_microseconds() / 1e6
    elif kind.is_temporal():
        column = column.dt.to_string("iso")
    elif isinstance(kind, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    return _encoded(column)


def _encoded(column: pl.Expr) -> pl.Expr:
    # Polars writes JSON for structs only.
    return pl.struct(column.alias("x")).struct.json_encode().str.slice(5).str.strip_suffix("}")
