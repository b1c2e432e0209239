"""Reading: a file of any known format → frames of raw columns, in bounded memory.

A frame has the columns of the file and `_row`, the number of each row in it. What a text format
(CSV, TSV, JSON, JSON Lines) holds is text, exactly as it stands there; Parquet, Arrow and Excel
have types of their own; lines and documents have the one column `text`. A row that cannot be
read goes to the quarantine, with its number, and the others are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from feilun.stages.collect.formats import DOCUMENTS, FORMATS, LIMITS, PACKED, Limits, form_of
from feilun.stages.collect.reading import documents, jsonl, lines, sheets, typed
from feilun.stages.collect.reading.delimited import Delimited
from feilun.stages.collect.reading.encodings import as_utf8
from feilun.stages.collect.reading.errors import (
    FileMissing,
    NoRecords,
    UnpacksTooLarge,
    UnreadableEncoding,
    UnreadableFile,
    WorkbookTooLarge,
)
from feilun.stages.collect.reading.header import ROW, named_apart
from feilun.stages.collect.reading.json_text import JsonText
from feilun.stages.collect.reading.typed import PER_FRAME
from feilun.stages.collect.reading.unpacking import blocks
from feilun.stages.collect.source import Quarantine

__all__ = [
    "DOCUMENTS",
    "FORMATS",
    "LIMITS",
    "PACKED",
    "PER_FRAME",
    "ROW",
    "FileMissing",
    "Limits",
    "NoRecords",
    "UnpacksTooLarge",
    "UnreadableEncoding",
    "UnreadableFile",
    "WorkbookTooLarge",
    "form_of",
    "parse",
    "read",
]


def read(
    path: Path,
    form: str,
    encoding: str,
    quarantine: Quarantine,
    shown: str,
    *,
    limits: Limits = LIMITS,
    sheet: str | None = None,
) -> Iterator[pl.DataFrame]:
    """Frames of at most 65,536 rows and some ten megabytes: the columns of the file and `_row`.

    `form` is one of the values of `FORMATS`, or `document`; `encoding` is `auto` or one that
    Python knows; `shown` is the file's name in the quarantine. Markdown, HTML and documents are
    one row, markup and all; text is a row per line, PDF a row per page. Raises `FileMissing`,
    `NotReadable`, `UnreadableFile`, `UnreadableEncoding`, `UnpacksTooLarge`,
    `WorkbookTooLarge`.
    """

    def bad(row: int, reason: str, excerpt: str | bytes) -> None:
        quarantine.add(shown, row, reason, excerpt)

    if form in {"parquet", "arrow"}:
        yield from _numbered(typed.frames(path, form))
    elif form == "excel":
        yield from sheets.frames(path, sheet)
    elif form == "pdf":
        for number, text in documents.pages(path, limits.most_bytes, bad):
            yield pl.DataFrame({"text": [text], ROW: [number]})
    elif form in {"document", "markdown", "html"}:
        whole = documents.whole_text(path, encoding, *limits, bad)
        if whole is not None:
            yield pl.DataFrame({"text": [whole], ROW: [1]})
    else:
        content = blocks(path, limits.most_unpacked)
        yield from parse(content, form, encoding, quarantine, shown, limits=limits)


def parse(
    content: Iterator[bytes],
    form: str,
    encoding: str,
    quarantine: Quarantine,
    shown: str,
    *,
    limits: Limits = LIMITS,
) -> Iterator[pl.DataFrame]:
    """The same for bytes from anywhere, in blocks, that are `csv`, `tsv`, `json`, `jsonl` or
    `text`: the body of an answer, say."""

    def bad(row: int, reason: str, excerpt: str | bytes) -> None:
        quarantine.add(shown, row, reason, excerpt)

    text = as_utf8(content, encoding, shown)
    most = limits.most_bytes
    if form in {"csv", "tsv"}:
        frames = Delimited(text, "," if form == "csv" else "\t", most, shown, bad).frames()
    elif form == "json":
        frames = JsonText(text, most, shown, bad).frames()
    elif form == "jsonl":
        frames = jsonl.frames(text, most, bad)
    else:
        frames = lines.frames(text, most, bad)
    for frame in frames:
        if frame.height:
            yield from frame.iter_slices(PER_FRAME)


def _numbered(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    first = 1
    for frame in frames:
        rows = pl.int_range(first, first + frame.height, eager=True).alias(ROW)
        frame.columns = named_apart(frame.columns)
        yield frame.with_columns(rows)
        first += frame.height
