"""`spans`: texts with ranges marked in them, as doccano, Prodigy, CLUENER and others write them.

A range counts characters (Unicode code points) from 0, its end not included. What a file counts
by cannot be seen in it; but where a range quotes its text (`{"start": 1, "end": 3, "text": …}`), it
is checked, and a file of a tool that counts UTF-16 units (older Label Studio) is read right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.layouts.rows import Built, Span, Unfit, nested, rest_of
from feilun.stages.collect.source import Quarantine

_START = ("start", "start_offset", "begin", "start_idx", "start_index", "startOffset")
_END = ("end", "end_offset", "end_idx", "end_index", "endOffset")
_LABEL = ("label", "tag", "entity", "entity_group", "type", "entity_type", "labels", "category")
_QUOTE = ("text", "word", "value", "mention", "surface")
_DERIVED = ("tokens", "answer")
"""What Prodigy writes beside the ranges that is no property of the text."""


def shaped(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per text, with its ranges; they may overlap, and one that is there twice counts
    once. Refused: `no_text`; `bad_spans` (outside the text, empty, reversed, without a label, or
    not on the text it quotes); `not_accepted` (Prodigy's answers `reject` and `ignore`)."""
    built = Built(where, quarantine)
    column = columns.get("spans", "")
    used = frozenset(columns.values()) | {
        name for name in chunk.columns if name.startswith("_") or name in _DERIVED
    }
    for record in chunk.iter_rows(named=True):
        text = record[columns["text"]]
        reason = None
        spans: list[Span] | None = None
        if not isinstance(text, str) or not text.strip():
            reason = "no_text"
        elif record.get("answer") in ("reject", "ignore"):
            reason = "not_accepted"
        else:
            try:
                spans = ranges(nested(record.get(column)), text)
            except Unfit as unfit:
                reason = unfit.reason
        if reason is not None:
            built.refuse(record[ROW], reason, text if text else str(record.get(column)))
            continue
        built.add(record[ROW], text, spans, record, columns, rest_of(record, used))
    return built.frame()


def ranges(value: Any, text: str) -> list[Span] | None:
    """The ranges that a cell marks in `text`, in its order; None when it has none to say."""
    if value is None or value == "":
        return None
    if isinstance(value, Mapping):
        found = _by_label(value, text)
    elif isinstance(value, list):
        found = [span for item in value for span in _ranges_of(item, text)]
    else:
        raise Unfit("bad_spans")
    return list(dict.fromkeys(found))


def placed(start: Any, end: Any, text: str, quote: Any) -> tuple[int, int]:
    """Start and end in code points, checked against the text that the range quotes, if any."""
    if isinstance(start, bool) or isinstance(end, bool):
        raise Unfit("bad_spans")
    if not isinstance(start, int) or not isinstance(end, int):
        raise Unfit("bad_spans")
    fits = 0 <= start < end <= len(text)
    if not isinstance(quote, str) or not quote or (fits and text[start:end] == quote):
        if not fits:
            raise Unfit("bad_spans")
        return start, end
    if not text.isascii() and 0 <= start < end:
        units = text.encode("utf-16-le")
        if units[2 * start : 2 * end] == quote.encode("utf-16-le"):
            first = len(units[: 2 * start].decode("utf-16-le"))
            return first, first + len(quote)
    # Tools write line feeds and double spaces of a quoted text in their own way.
    if fits and "".join(text[start:end].split()) == "".join(quote.replace("\\n", "").split()):
        return start, end
    raise Unfit("bad_spans")


def _ranges_of(item: Any, text: str) -> list[Span]:
    if isinstance(item, list):
        if len(item) < 3 or not isinstance(item[2], str):
            raise Unfit("bad_spans")
        start, end = placed(item[0], item[1], text, None)
        return [(start, end, item[2])]
    if not isinstance(item, Mapping):
        raise Unfit("bad_spans")
    start, end = (_first(item, keys) for keys in (_START, _END))
    start, end = placed(start, end, text, _first(item, _QUOTE))
    label = _first(item, _LABEL)
    labels = label if isinstance(label, list) else [label]
    if not labels or not all(isinstance(name, str | int) and name != "" for name in labels):
        raise Unfit("bad_spans")
    return [(start, end, str(name)) for name in labels]


def _by_label(value: Mapping[str, Any], text: str) -> list[Span]:
    """CLUENER: `{label: {quoted text: [[start, last], …]}}`, the last character included."""
    found: list[Span] = []
    for label, quoted in value.items():
        if not isinstance(quoted, Mapping):
            raise Unfit("bad_spans")
        for quote, places in quoted.items():
            for place in places if isinstance(places, list) else [None]:
                if not isinstance(place, list) or len(place) != 2:
                    raise Unfit("bad_spans")
                start, last = place
                if not isinstance(last, int):
                    raise Unfit("bad_spans")
                found.append((*placed(start, last + 1, text, quote), label))
    return sorted(found)


def _first(item: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((item[key] for key in keys if item.get(key) is not None), None)
