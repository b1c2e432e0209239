"""Records put together row by row, for the layouts whose values are nested."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from feilun.core.records import SPANS
from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.layouts.times import parsed_times
from feilun.stages.collect.source import Quarantine

Span = tuple[int, int, str]
Turn = tuple[str, str]

_LONE = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)


class Unfit(Exception):
    """A row that does not fit its layout; caught where the rows are gone through."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def nested(value: Any) -> Any:
    """A list or object written as JSON text, read; anything else as it is. Text that only looks
    like JSON stays text."""
    if not isinstance(value, str) or value[:1] not in "[{" or not value:
        return value
    try:
        # NaN and Infinity are no JSON: null, so that what is written again is.
        found = json.loads(value, parse_constant=lambda _name: None)
    except (ValueError, RecursionError):
        return value
    return clean(found) if "\\ud" in value or "\\uD" in value else found


def clean(value: Any) -> Any:
    """`value` without what JSON in UTF-8 cannot hold: lone surrogates become U+FFFD, infinite
    numbers and bytes null, dates text."""
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if value is None or isinstance(value, int):
        return value
    return None if isinstance(value, bytes) else str(value)


def canonical(fields: Mapping[str, Any]) -> str | None:
    """`fields` as JSON with sorted keys and no white space; None when there are none."""
    if not fields:
        return None
    try:
        return _ENCODER.encode(fields)
    except (TypeError, ValueError):
        return _ENCODER.encode(clean(fields))


def joined(turns: Iterable[Turn]) -> tuple[str, list[Span]]:
    """The turns (role, text) as one text, one per line, and the range of each."""
    spans, texts, at = [], [], 0
    for role, text in turns:
        spans.append((at, at + len(text), role))
        texts.append(text)
        at += len(text) + 1
    return "\n".join(texts), spans


def parts(text: str, spans: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """The parts (role, text) of a structured record's `text` and `spans`: what `shaped` was
    given, in its order; an empty part is an empty text."""
    return [(span["label"], text[span["start"] : span["end"]]) for span in spans]


def label_of(value: Any) -> tuple[str | None, list[str] | None]:
    """A cell's label, and all its labels when the cell is a list. A list of one is that label;
    of several, no single one is *the* label: None."""
    value = nested(value)
    if isinstance(value, list):
        several = [name for name in (label_of(item)[0] for item in value) if name is not None]
        return (several[0] if len(several) == 1 else None), several
    if value is None or isinstance(value, Mapping):
        return None, None
    if isinstance(value, bool):
        return str(value).lower(), None
    return str(value).strip() or None, None


class Built:
    """The records of a chunk so far; `frame` gives them, in columns."""

    def __init__(self, where: str, quarantine: Quarantine) -> None:
        self._where = where
        self._quarantine = quarantine
        self._rows: list[int] = []
        self._texts: list[str | None] = []
        self._labels: list[str | None] = []
        self._groups: list[str | None] = []
        self._times: list[Any] = []
        self._fields: list[str | None] = []
        self._spanned: list[bool] = []
        self._owners: list[int] = []
        self._spans: list[Span] = []

    def add(
        self,
        row: int,
        text: str | None,
        spans: list[Span] | None,
        record: Mapping[str, Any],
        columns: Mapping[str, str],
        fields: dict[str, Any],
    ) -> None:
        """One record; label, group and time are taken out of `record` where `columns` says."""
        label, several = label_of(record.get(columns.get("label", "")))
        if several is not None:
            fields = {**fields, "labels": several}
        self.take(row, text, spans, label, fields)
        group = record.get(columns.get("group", ""))
        self._groups[-1] = None if group is None else str(group)
        time = record.get(columns.get("time", ""))
        self._times[-1] = None if time is None else str(time)

    def take(
        self,
        row: int,
        text: str | None,
        spans: list[Span] | None,
        label: str | None,
        fields: Mapping[str, Any],
        group: str | None = None,
    ) -> None:
        """One record whose label is known."""
        if spans:
            self._owners.extend([len(self._rows)] * len(spans))
            self._spans.extend(spans)
        self._spanned.append(spans is not None)
        self._rows.append(row)
        self._texts.append(text)
        self._labels.append(label)
        self._groups.append(group)
        self._times.append(None)
        self._fields.append(canonical(fields))

    def refuse(self, row: int, reason: str, seen: Any) -> None:
        """Sends a row to the quarantine."""
        if isinstance(seen, Mapping):
            seen = {name: clean(value) for name, value in seen.items() if value is not None}
            seen = json.dumps(seen, ensure_ascii=False)
        self._quarantine.add(self._where, row, reason, str(seen))

    def frame(self) -> pl.DataFrame:
        """The records: `text`, `label`, `row`, `spans`, `group`, `time`, `fields`."""
        flat = pl.DataFrame(
            {
                "_at": pl.Series(self._owners, dtype=pl.Int64),
                "start": pl.Series([span[0] for span in self._spans], dtype=pl.Int64),
                "end": pl.Series([span[1] for span in self._spans], dtype=pl.Int64),
                "label": pl.Series([span[2] for span in self._spans], dtype=pl.String),
            }
        )
        # 30 times faster than a Series made of lists of dicts (50,000 rows: 28 ms for 810).
        spans = flat.group_by("_at", maintain_order=True).agg(
            pl.struct("start", "end", "label").alias("spans")
        )
        none = pl.lit(pl.Series([[]], dtype=SPANS))
        frame = (
            pl.DataFrame(
                {
                    "text": pl.Series(self._texts, dtype=pl.String),
                    "label": pl.Series(self._labels, dtype=pl.String),
                    "row": pl.Series(self._rows, dtype=pl.Int64),
                    "group": pl.Series(self._groups, dtype=pl.String),
                    "time": pl.Series(self._times, dtype=pl.String),
                    "fields": pl.Series(self._fields, dtype=pl.String),
                    "_spanned": pl.Series(self._spanned, dtype=pl.Boolean),
                    "_at": pl.int_range(len(self._rows), eager=True),
                }
            )
            .join(spans, on="_at", how="left", maintain_order="left")
            .with_columns(pl.when("_spanned").then(pl.col("spans").fill_null(none)).alias("spans"))
        )
        times = parsed_times(frame["time"], frame["row"], self._where, self._quarantine)
        return frame.with_columns(times.alias("time")).select(
            "text", "label", "row", pl.col("spans").cast(SPANS), "group", "time", "fields"
        )


def rest_of(record: Mapping[str, Any], used: frozenset[str]) -> dict[str, Any]:
    """The cells of a row that play no role and are not empty, nested ones read."""
    return {
        name: nested(value)
        for name, value in record.items()
        if name not in used and name != ROW and value is not None and value != ""
    }
