"""Raw chunks as the readers give them, and the records that layouts make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from feilun.core.records import conform
from feilun.stages.collect import layouts
from feilun.stages.collect.source import Quarantine

WHERE = "data/x.jsonl"


def raw_json(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """As a JSON file is read: texts; nested values, numbers and truth as compact JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> str | None:
        if value is None or isinstance(value, str):
            return value
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    columns = {
        name: pl.Series([cell(row.get(name)) for row in rows], dtype=pl.String) for name in names
    }
    return numbered(pl.DataFrame(columns))


def numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """With `_row`, from 1."""
    return frame.with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("_row"))


def records(
    chunk: pl.DataFrame, layout: str, quarantine: Quarantine | None = None, **columns: str
) -> list[dict[str, Any]]:
    """The records as rows; each has every column that records have, `fields` read."""
    frame = layouts.shaped(chunk, layout, columns, WHERE, quarantine or Quarantine())
    rows = conform(frame).to_dicts()
    return [row | {"fields": read(row["fields"])} for row in rows]


def read(fields: str | None) -> Any:
    """`fields`, checked to be canonical: keys sorted, no white space."""
    if fields is None:
        return None
    found = json.loads(fields)
    assert isinstance(found, Mapping)
    assert list(found) == sorted(found)
    return found


def of_json(
    rows: list[dict[str, Any]], layout: str, quarantine: Quarantine | None = None, **columns: str
) -> list[dict[str, Any]]:
    """The records of a JSON file's rows."""
    return records(raw_json(rows), layout, quarantine, **columns)


def marked(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a record's spans are on: (label, text)."""
    return layouts.parts(record["text"], record["spans"])
