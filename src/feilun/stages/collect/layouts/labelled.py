"""`labelled`: a column of texts and, if any, one of labels; and lines of text."""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from feilun.stages.collect.layouts.json_columns import json_object
from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.layouts.rows import canonical, label_of
from feilun.stages.collect.layouts.times import parsed_times
from feilun.stages.collect.source import Quarantine

ROLES = ("text", "label", "group", "time")


def shaped(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per row with a text. A cell with a list of labels gives `fields.labels`, and
    `label` only when it is a list of one. Any role other than text, label, group and time keeps
    its column under that name in `fields`. A cell that is no text (a list, bytes) is refused as
    `no_text`; an empty one goes on, for `prepare` to drop and count."""
    text = pl.col(columns["text"])
    if isinstance(chunk.schema[columns["text"]], pl.List | pl.Struct | pl.Array | pl.Binary):
        for row in chunk[ROW]:
            quarantine.add(where, row, "no_text")
        chunk = chunk.clear().with_columns(pl.lit(None, dtype=pl.String).alias(columns["text"]))
    written = text.cast(pl.String).fill_null("")
    frame = chunk.select(written.alias("text"), pl.col(ROW).alias("row"))
    extra = {role: column for role, column in columns.items() if role not in ROLES}
    if extra:
        frame = frame.with_columns(
            json_object(chunk.select(pl.col(c).alias(r) for r, c in sorted(extra.items())))
        )
    if "label" in columns:
        frame = _with_labels(frame, chunk[columns["label"]])
    if "group" in columns:
        frame = frame.with_columns(chunk[columns["group"]].cast(pl.String).alias("group"))
    if "time" in columns:
        times = parsed_times(chunk[columns["time"]], frame["row"], where, quarantine)
        frame = frame.with_columns(times.alias("time"))
    return frame


def _with_labels(frame: pl.DataFrame, cells: pl.Series) -> pl.DataFrame:
    if isinstance(cells.dtype, pl.List | pl.Array):
        listed = pl.Series([True] * len(cells), dtype=pl.Boolean)
    elif cells.dtype == pl.String:
        listed = cells.str.contains(r"^\s*\[.*\]\s*$").fill_null(False)
    else:
        listed = pl.Series([False] * len(cells), dtype=pl.Boolean)
    if not listed.any():
        plain = pl.DataFrame({"l": cells}).select(pl.col("l").cast(pl.String).str.strip_chars())
        label = pl.when(pl.col("l") != "").then("l")
        return frame.with_columns(plain.select(label.alias("label")).to_series())
    found = [label_of(value) for value in cells.to_list()]
    before = frame["fields"].to_list() if "fields" in frame.columns else [None] * len(found)
    fields = [
        kept if names is None else canonical({**json.loads(kept or "{}"), "labels": names})
        for kept, (_one, names) in zip(before, found, strict=True)
    ]
    return frame.with_columns(
        pl.Series("label", [one for one, _names in found], dtype=pl.String),
        pl.Series("fields", fields, dtype=pl.String),
    )
