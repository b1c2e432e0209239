"""Which layout a file has, told from its first rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from feilun.stages.collect.columns import TEXT_NAMES
from feilun.stages.collect.layouts.naming import ROW, by_name, pair_in
from feilun.stages.collect.layouts.rows import nested
from feilun.stages.collect.layouts.sequences import looks_tagged
from feilun.stages.collect.names import NAMES

SEEN = 200
"""Rows looked at."""

_NUMBER = r"^\s*[-+]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:[eE][-+]?\d+)?%?\s*$"
_WORDS = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[^\s\p{Han}\p{Hiragana}\p{Katakana}]+"


def detect(chunk: pl.DataFrame, columns: Mapping[str, str] | None = None) -> str:
    """The likely layout of a raw chunk, by its columns' names and its first values; `columns`
    are the roles that were set by hand (with a text column, it is never a table without text).
    Never raises; `labelled` where nothing else fits."""
    try:
        return _detected(chunk.head(SEEN), columns or {})
    except (pl.exceptions.PolarsError, ValueError, TypeError, KeyError, RecursionError):
        return "labelled"


def _detected(chunk: pl.DataFrame, columns: Mapping[str, str]) -> str:
    names = by_name(chunk.columns)
    if _from_label_studio(chunk, names):
        return "label_studio"
    for layout, roles in (
        ("preference", ("chosen", "rejected")),
        ("alpaca", ("instruction", "output")),
        ("completion", ("prompt", "completion")),
    ):
        if all(columns.get(role) or _named(names, layout, role) for role in roles):
            return layout
    if _of_pairs(chunk, names, columns):
        return "pairs"
    turns = _turns_layout(chunk, names, columns)
    if turns is not None:
        return turns
    if _tagged(chunk, names):
        return "conll"
    if _named(names, "spans", "text") and _has_ranges(chunk, names, columns):
        return "spans"
    if "text" in columns:
        return "labelled"
    who, what = (
        columns.get(role) or _named(names, "interactions", role) for role in ("user", "item")
    )
    prose = [name for key, name in names.items() if key in TEXT_NAMES and key != "title"]
    if who and what and not prose:
        return "interactions"
    return "labelled" if prose or _has_prose(chunk) else "tabular"


def _named(names: Mapping[str, str], layout: str, role: str) -> str | None:
    return next((names[n] for n in NAMES[layout][role] if n in names), None)


def _of_pairs(chunk: pl.DataFrame, names: Mapping[str, str], columns: Mapping[str, str]) -> bool:
    """Whether two columns of texts go together, and no other is the text."""
    if "first" in columns and "second" in columns:
        return True
    found = None if "text" in columns else pair_in(names)
    if found is None:
        return False
    sides = set(found.values())
    prose = [name for key, name in names.items() if key in TEXT_NAMES and name not in sides]
    return not prose and all(
        chunk.schema[name] == pl.String and not _numeric(chunk[name]) for name in sides
    )


def _first_of(chunk: pl.DataFrame, column: str) -> Any:
    """The first value of a column that says anything, nested ones read."""
    for value in chunk[column]:
        found = nested(value.to_list() if isinstance(value, pl.Series) else value)
        if found is not None and found not in ("", []):
            return found
    return None


def _from_label_studio(chunk: pl.DataFrame, names: Mapping[str, str]) -> bool:
    if "data" in names and ("annotations" in names or "completions" in names):
        return isinstance(_first_of(chunk, names["data"]), Mapping)
    return "annotation_id" in names and ("annotator" in names or "lead_time" in names)


def _turns_layout(
    chunk: pl.DataFrame, names: Mapping[str, str], columns: Mapping[str, str]
) -> str | None:
    usual = (*NAMES["messages"]["messages"], "prompt")
    tried = [columns.get("messages"), *(names[n] for n in usual if n in names)]
    for column in tried:
        if column is None or column not in chunk.columns:
            continue
        found = _first_of(chunk, column)
        if isinstance(found, list) and isinstance(found[0], Mapping):
            if "role" in found[0]:
                return "messages"
            if "from" in found[0]:
                return "sharegpt"
    return None


def _tagged(chunk: pl.DataFrame, names: Mapping[str, str]) -> bool:
    tokens = _named(names, "conll", "tokens")
    if tokens is not None:
        return isinstance(_first_of(chunk, tokens), list) and bool(_named(names, "conll", "tags"))
    if list(names) != ["text"] or chunk.schema[names["text"]] != pl.String:
        return False
    return looks_tagged(chunk[names["text"]].fill_null("").to_list())


def _has_ranges(chunk: pl.DataFrame, names: Mapping[str, str], columns: Mapping[str, str]) -> bool:
    for key in NAMES["spans"]["spans"]:
        column = columns.get("spans") or names.get(key)
        if column is None or column not in chunk.columns:
            continue
        found = _first_of(chunk, column)
        if isinstance(found, list):
            item = found[0]
            pair = isinstance(item, list) and len(item) >= 3 and isinstance(item[0], int)
            marked = isinstance(item, Mapping) and any(k in item for k in ("start", "start_offset"))
            if pair or marked:
                return True
        if isinstance(found, Mapping) and found and key in ("label", "labels"):
            return all(isinstance(quoted, Mapping) for quoted in found.values())
        if found is None and key in ("entities", "spans"):
            cells = chunk[column]
            empty = cells.cast(pl.String, strict=False) if cells.dtype == pl.String else None
            if empty is not None and (empty.str.strip_chars() == "[]").any():
                return True
    return False


def _has_prose(chunk: pl.DataFrame) -> bool:
    """Whether some column holds sentences: on average three words (a Chinese character counts
    as one; five of them without a space), and more than a few different ones."""
    names = [name for name in chunk.columns if name != ROW]
    if len(names) == 1:
        return True
    for name in names:
        if chunk.schema[name] != pl.String:
            continue
        cells = chunk[name].str.strip_chars().drop_nulls()
        cells = cells.filter((cells != "") & ~cells.str.contains(_NUMBER))
        if cells.is_empty():
            continue
        words = cells.str.count_matches(_WORDS).mean()
        distinct = cells.n_unique()
        if float(str(words)) >= 3 and distinct >= max(2, 0.2 * len(cells)):
            return True
    return not any(_numeric(chunk[name]) for name in names)


def _numeric(cells: pl.Series) -> bool:
    if cells.dtype != pl.String:
        return cells.dtype.is_numeric()
    filled = cells.filter(cells.str.strip_chars() != "")
    return len(filled) > 0 and filled.str.contains(_NUMBER).all()
