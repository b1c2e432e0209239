"""What a source holds, before anything is collected: its columns, their types, a few records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import polars as pl

from feilun.core.records import SCHEMA, conform
from feilun.stages.collect.chunks import Shaping
from feilun.stages.collect.files import File, Files
from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.layouts.times import parsed
from feilun.stages.collect.reading import DOCUMENTS, PACKED
from feilun.stages.collect.reading.encodings import SAMPLE, detect
from feilun.stages.collect.reading.unpacking import blocks
from feilun.stages.collect.source import Bad, Quarantine, Source

MOST_ROWS = 10_000
"""Rows of a piece that are looked at."""
MOST_PIECES = 20
"""Pieces of a source that are looked at."""

KINDS = ("integer", "number", "date", "true/false", "category", "text", "list", "object", "empty")
"""What a column can be."""

_INTEGER = r"^[-+]?\d{1,3}(?:,\d{3})+$|^[-+]?\d+$"
_NUMBER = r"^[-+]?(?:\d+(?:,\d{3})*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?%?$"
_TRUTH = ("true", "false", "yes", "no", "t", "f", "是", "否", "真", "假", "对", "错")
_ALIKE = 0.95
"""The share of a column's cells that must be of a kind for the column to be."""
_LEFT_OUT = ("labelled", "interactions", "label_studio", "pairs")
"""Layouts in which a column without a role is left out, or read for what is in it."""
_NONE = pl.DataFrame(schema=SCHEMA)


class Sample(NamedTuple):
    """The beginning of one piece of a source.

    `details` says how it was read (`format`, `encoding`, `layout`, `packed`…); `raw` has its
    columns as they stand there (None: it has none), `shaped` the records they become, and
    `columns` which role has which column.
    """

    name: str
    details: Mapping[str, str]
    raw: pl.DataFrame | None
    shaped: pl.DataFrame
    columns: Mapping[str, str]


@runtime_checkable
class Sampled(Protocol):
    """A source that can show how its columns stand in it, without reading all of it."""

    def samples(self, root: Path, rows: int, quarantine: Quarantine) -> Iterator[Sample]:
        """The first `rows` rows of each piece, in the pieces' order; nothing is written."""
        ...


class Column(NamedTuple):
    """What a column holds, told from the rows that were looked at.

    `kind` is one of `KINDS`; `num_unlike` cells are not of it (a number column's `n/a`);
    `empty` is the share of empty cells, `length` the mean number of characters of the others.
    `becomes` is the role it plays in a record (`text`, `label`, `fields`…; empty: none).
    """

    name: str
    kind: str
    num_values: int
    num_unlike: int
    empty: float
    length: float
    example: str
    becomes: str


class PiecePreview(NamedTuple):
    """The beginning of one piece: how it is read, its columns, its first records, and what of
    the rows looked at could not be read (counts by reason, and where)."""

    name: str
    details: Mapping[str, str]
    num_rows: int
    columns: tuple[Column, ...]
    records: tuple[dict[str, Any], ...]
    unreadable: Mapping[str, int]
    shown: tuple[Bad, ...]


class Preview(NamedTuple):
    """The beginning of a source; `more`: it has pieces beyond the first `MOST_PIECES`."""

    use: str
    pieces: tuple[PiecePreview, ...]
    more: bool


def preview(source: Source, root: Path, rows: int = 10) -> Preview:
    """What `source` holds: of each of its first pieces the columns with their kinds, told from
    the first `MOST_ROWS` rows, and the first `rows` records. Nothing is written or kept. Raises
    what reading the source raises."""
    quarantine = Quarantine()
    if isinstance(source, Sampled):
        found = source.samples(root, MOST_ROWS, quarantine)
    elif isinstance(source, Files):
        found = _of_files(source, root, MOST_ROWS, quarantine)
    else:
        found = _of_pieces(source, root, MOST_ROWS, quarantine)
    pieces: list[PiecePreview] = []
    counted: Counter[str] = Counter()
    num_shown = 0
    for sample in islice(found, MOST_PIECES):
        fresh = quarantine.counts - counted
        counted = quarantine.counts.copy()
        pieces.append(_piece(sample, rows, fresh, quarantine.shown[num_shown:]))
        num_shown = len(quarantine.shown)
    return Preview(source.use, tuple(pieces), next(found, None) is not None)


def columns_of(table: pl.DataFrame, roles: Mapping[str, str] | None = None) -> tuple[Column, ...]:
    """Each column with its kind; `roles` maps columns to what they become."""
    roles = roles or {}
    return tuple(_column(table[name], roles.get(name, "")) for name in table.columns if name != ROW)


def _of_pieces(source: Source, root: Path, rows: int, quarantine: Quarantine) -> Iterator[Sample]:
    """For a source that only has pieces: the columns are those of its records."""
    for piece in source.pieces(root, None):
        yield Sample(piece.name, {}, None, _first(piece.frames(quarantine), rows), {})


def _of_files(source: Files, root: Path, rows: int, quarantine: Quarantine) -> Iterator[Sample]:
    """A sample of each table, and one of all texts and documents together."""
    documents: list[File] = []
    for file in source.files(root):
        if file.form in DOCUMENTS or file.form == "document":
            documents.append(file)
        else:
            yield _of_table(source, file, rows, quarantine)
    if documents:
        shaped = _first(source._of_documents(documents, quarantine), rows)
        forms = sorted({file.form for file in documents})
        yield Sample(
            documents[0].shown if len(documents) == 1 else source.path,
            {"format": ", ".join(forms), **_encoding(source, documents[0])},
            None,
            shaped,
            {},
        )


def _of_table(source: Files, file: File, rows: int, quarantine: Quarantine) -> Sample:
    sparse = file.form in {"json", "jsonl"}
    shaping = Shaping(source.layout, source.columns, file.shown, None, sparse=sparse)
    raw: list[pl.DataFrame] = []
    shaped: list[pl.DataFrame] = []
    seen = 0
    for chunk in source.chunks(file, quarantine):
        part = chunk.head(rows - seen)
        raw.append(part)
        shaped.append(conform(shaping.records(part, quarantine)))
        seen += part.height
        if seen >= rows:
            break
    guessed = shaping.guessed or {"columns": {}}
    details = {"format": file.form, **_encoding(source, file)}
    if "layout" in guessed:
        details["layout"] = guessed["layout"]
    return Sample(
        file.shown,
        details,
        pl.concat(raw, how="diagonal_relaxed") if raw else None,
        pl.concat(shaped) if shaped else _NONE,
        guessed["columns"],
    )


def _encoding(source: Files, file: File) -> dict[str, str]:
    """The encoding of a text, and what it is packed with."""
    packed = file.path.suffix.lower()
    found = {"packed": packed.removeprefix(".")} if packed in PACKED else {}
    if file.form in {"parquet", "arrow", "excel", "pdf"}:
        return found
    if source.encoding != "auto":
        return {"encoding": source.encoding, **found}
    head, whole = b"", True
    for block in blocks(file.path, source.most_unpacked):
        head += block
        if len(head) > SAMPLE:
            whole = False
            break
    return {"encoding": detect(head[:SAMPLE], file.shown, whole=whole), **found}


def _first(frames: Iterable[pl.DataFrame], rows: int) -> pl.DataFrame:
    """The first rows of `frames`; no more frames are read than that takes."""
    kept: list[pl.DataFrame] = []
    seen = 0
    for frame in frames:
        kept.append(conform(frame.head(rows - seen)))
        seen += frame.height
        if seen >= rows:
            break
    return pl.concat(kept) if kept else _NONE


def _piece(
    sample: Sample, rows: int, unreadable: Mapping[str, int], shown: Iterable[Bad]
) -> PiecePreview:
    if sample.raw is None:
        table = _unpacked(sample.shaped)
        roles = {name: name.partition(".")[0] for name in table.columns}
    else:
        table = sample.raw.head(MOST_ROWS)
        known = {column: role for role, column in sample.columns.items()}
        rest = "" if sample.details.get("layout", "labelled") in _LEFT_OUT else "fields"
        roles = {name: known.get(name, rest) for name in table.columns}
    first = conform(sample.shaped.head(rows)).drop("id", "source")
    return PiecePreview(
        name=sample.name,
        details=dict(sample.details),
        num_rows=table.height,
        columns=columns_of(table, roles),
        records=tuple(
            row | {"fields": None if row["fields"] is None else json.loads(row["fields"])}
            for row in first.to_dicts()
        ),
        unreadable=dict(unreadable),
        shown=tuple(shown),
    )


def _unpacked(shaped: pl.DataFrame) -> pl.DataFrame:
    """The records' columns that hold anything, `fields` opened: `fields.image`."""
    kept = [
        shaped[name]
        for name in ("text", "label", "group", "time")
        if name in shaped.columns and shaped[name].null_count() < shaped.height
    ]
    if "fields" in shaped.columns:
        rows = [json.loads(cell) if cell else {} for cell in shaped["fields"]]
        for key in sorted({key for row in rows for key in row}):
            cells = [_written(row.get(key)) for row in rows]
            kept.append(pl.Series(f"fields.{key}", cells, dtype=pl.String))
    return pl.DataFrame(kept)


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _column(cells: pl.Series, becomes: str) -> Column:
    kind = cells.dtype
    if isinstance(kind, pl.List | pl.Array | pl.Struct):
        texts = pl.Series(cells.name, [_shown(value) for value in cells], dtype=pl.String)
    elif isinstance(kind, pl.Binary):
        texts = pl.Series(cells.name, [None] * len(cells), dtype=pl.String)
    else:
        texts = cells.cast(pl.String, strict=False).str.strip_chars()
    filled = texts.drop_nulls()
    filled = filled.filter(filled != "")
    name, unlike = _kind(kind, filled)
    if name == "category" and becomes == "text":
        name = "text"
    return Column(
        name=cells.name,
        kind=name,
        num_values=filled.n_unique(),
        num_unlike=unlike,
        empty=1 - len(filled) / len(cells) if len(cells) else 1.0,
        length=float(str(filled.str.len_chars().mean() or 0.0)),
        example=filled[0] if len(filled) else "",
        becomes=becomes,
    )


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    plain = value.to_list() if isinstance(value, pl.Series) else value
    return json.dumps(plain, ensure_ascii=False, default=str, separators=(",", ":"))


def _kind(kind: pl.DataType, filled: pl.Series) -> tuple[str, int]:
    """The kind of a column of that type with these cells, and how many of them it does not fit."""
    if filled.is_empty():
        return "empty", 0
    if isinstance(kind, pl.List | pl.Array):
        return "list", 0
    if isinstance(kind, pl.Struct):
        return "object", 0
    if kind == pl.Boolean:
        return "true/false", 0
    if kind.is_integer():
        return "integer", 0
    if kind.is_numeric():
        return "number", 0
    if kind.is_temporal():
        return "date", 0
    enough = _ALIKE * len(filled)
    integer, number = (filled.str.contains(pattern) for pattern in (_INTEGER, _NUMBER))
    for name, fits in (
        ("true/false", filled.str.to_lowercase().is_in(_TRUTH)),
        # Digits alone may be a time, but also a count or a name.
        ("date", parsed(filled).is_not_null() & ~number),
        ("integer", integer),
        ("number", number),
        ("list", filled.str.contains(r"^\[.*\]$")),
        ("object", filled.str.contains(r"(?s)^\{.*\}$")),
    ):
        num_fitting = int(fits.sum())
        if num_fitting >= enough:
            return name, len(filled) - num_fitting
    num_values = filled.n_unique()
    few = num_values < len(filled) and num_values <= max(2, min(200, len(filled) // 5))
    short = float(str(filled.str.len_chars().mean())) < 30
    return ("category" if few and short else "text"), 0
