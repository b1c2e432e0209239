"""`tabular`: rows of features, no text."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from feilun.stages.collect.layouts.json_columns import json_object
from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.layouts.times import parsed_times
from feilun.stages.collect.source import Quarantine


def shaped(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per row: every column but the label, group and time is a feature in `fields`,
    under its own name; `text` is null unless a column is mapped to it. A row without one value
    is refused as `empty_row`."""
    apart = [ROW, *columns.values()]
    features = [name for name in chunk.columns if name not in apart]
    void = pl.all_horizontal(
        pl.col(name).cast(pl.String).str.strip_chars().fill_null("") == ""
        if chunk.schema[name] == pl.String
        else pl.col(name).is_null()
        for name in features or [ROW]
    )
    for row in chunk.filter(void)[ROW]:
        quarantine.add(where, row, "empty_row")
    chunk = chunk.filter(~void)
    made = [chunk[ROW].alias("row"), json_object(chunk.select(features)).alias("fields")]
    for role in ("text", "label", "group"):
        if role in columns:
            cells = chunk[columns[role]].cast(pl.String).str.strip_chars()
            made.append(cells.set(cells == "", None).alias(role))
    if "time" in columns:
        times = parsed_times(chunk[columns["time"]], made[0], where, quarantine)
        made.append(times.alias("time"))
    return pl.DataFrame(made)
