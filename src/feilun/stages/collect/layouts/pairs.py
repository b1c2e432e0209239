"""`pairs`: two columns of texts and, if any, a label that says how they go together."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from feilun.core.records import SPANS
from feilun.stages.collect.layouts import labelled
from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.source import Quarantine

SIDES = ("first", "second")
_TEXT = "_text"


def shaped(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per row: `text` is the first text, a line feed and the second, `spans` says
    where each of them stands (`first`, `second`); label, group, time and other roles as in
    `labelled`. A row of which one text is empty or no text is refused as `no_text`."""
    sides = [_bare(chunk, columns[side]).alias(side) for side in SIDES]
    texts = chunk.select(sides)
    void = texts.select(pl.any_horizontal(pl.col(SIDES).is_null())).to_series()
    for row in chunk.filter(void)[ROW]:
        quarantine.add(where, row, "no_text")
    chunk, texts = chunk.filter(~void), texts.filter(~void)
    length = pl.col("first").str.len_chars().cast(pl.Int64)
    until = length + 1 + pl.col("second").str.len_chars().cast(pl.Int64)
    ends = ((pl.lit(0, pl.Int64), length, "first"), (length + 1, until, "second"))
    spans = [
        pl.struct(start=start, end=end, label=pl.lit(side, pl.String)) for start, end, side in ends
    ]
    text = pl.concat_str(SIDES, separator="\n").alias(_TEXT)
    made = texts.select(text, pl.concat_list(spans).cast(SPANS).alias("spans"))
    roles = {role: column for role, column in columns.items() if role not in SIDES}
    frame = labelled.shaped(
        chunk.with_columns(made[_TEXT]), roles | {"text": _TEXT}, where, quarantine
    )
    return frame.with_columns(made["spans"])


def _bare(chunk: pl.DataFrame, column: str) -> pl.Expr:
    """The cells without white space around them; null where nothing is left."""
    if isinstance(chunk.schema[column], pl.List | pl.Struct | pl.Array | pl.Binary):
        return pl.lit(None, dtype=pl.String)
    cell = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(cell != "").then(cell)
