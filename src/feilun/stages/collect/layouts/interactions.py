"""`interactions`: who did what with which item, and when."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from feilun.stages.collect.layouts.json_columns import json_object
from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.layouts.times import parsed_times
from feilun.stages.collect.source import Quarantine

KEPT = ("event", "item", "user", "value")


def shaped(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per interaction: `group` is the user, `time` when, `fields` has user, item,
    event and value; `text` is null, or the item's title where one is mapped. Without a user or
    an item a row is refused as `no_interaction`; a time that cannot be read is noted as
    `bad_time` and its row goes on."""
    user, item = (_text(columns[role]) for role in ("user", "item"))
    lacking = user.is_null() | item.is_null()
    for row in chunk.filter(lacking)[ROW]:
        quarantine.add(where, row, "no_interaction")
    chunk = chunk.filter(~lacking)
    others = [name for name in KEPT[:1] + KEPT[3:] if name in columns]
    extra = sorted(set(columns) - {*KEPT, "text", "label", "group", "time"})
    fields = json_object(
        chunk.select(
            user.alias("user"),
            item.alias("item"),
            *(pl.col(columns[name]).alias(name) for name in [*others, *extra]),
        ),
        texts=("user", "item"),  # who and what are names, also where they look like numbers
    )
    frame = chunk.select(
        pl.col(ROW).alias("row"),
        _text(columns.get("group", columns["user"])).alias("group"),
        *(_text(columns[role]).alias(role) for role in ("text", "label") if role in columns),
    ).with_columns(fields.alias("fields"))
    if "time" in columns:
        times = parsed_times(chunk[columns["time"]], frame["row"], where, quarantine)
        frame = frame.with_columns(times.alias("time"))
    return frame


def _text(column: str) -> pl.Expr:
    cell = pl.col(column).cast(pl.String).str.strip_chars()
    return pl.when(cell != "").then(cell)
