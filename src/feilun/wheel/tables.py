"""Tables in files, read and written for people: CSV, JSONL, Parquet."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.stages.collect.columns import ColumnMissing, guess_columns
from feilun.stages.collect.files import FORMATS, FileMissing, Files, read_table
from feilun.store.disk import write_file

WRITTEN = (".csv", ".jsonl", ".ndjson", ".parquet")


class UnknownFormat(Invalid):
    """The file's ending names no format that can be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path}: its ending must be .csv, .jsonl or .parquet.").format(path=path),
            remedy=_("Name it {name}.csv").format(name=path.stem),
        )


def read_texts(path: Path, column: str | None) -> list[str]:
    """The texts in a file of any of the source formats, in order; null becomes empty."""
    if not path.exists():
        raise FileMissing(path)
    form = FORMATS[path.suffix.lower()]
    if form == "text":
        frame = Files(path=str(path)).read(Path())
        column = "text"
    else:
        frame = read_table(path, form)
        column = column or guess_columns(frame, path)["text"]
    if column not in frame.columns:
        raise ColumnMissing(path, column, frame.columns)
    return frame[column].cast(pl.String).fill_null("").to_list()


_FORMULA = r"^'*[=+\-@\t\r]"
"""What a spreadsheet would run, and what only escaped it because it was escaped before."""


def unescaped(table: pl.DataFrame) -> pl.DataFrame:
    """A table of text that was read from CSV, without the apostrophes of `write_table`."""
    text = pl.col(pl.String)
    escaped = text.str.starts_with("'") & text.str.contains(_FORMULA)
    return table.with_columns(pl.when(escaped).then(text.str.slice(1)).otherwise(text).name.keep())


def check_ending(path: Path) -> None:
    """Raises `UnknownFormat` where `write_table` would, before any work is done."""
    if path.suffix.lower() not in WRITTEN:
        raise UnknownFormat(path)


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Writes the table durably in the format of the path's ending; raises `UnknownFormat`.

    In CSV a text that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    check_ending(path)
    target = io.BytesIO()
    ending = path.suffix.lower()
    if ending == ".parquet":
        frame.write_parquet(target)
    elif ending in {".jsonl", ".ndjson"}:
        frame.write_ndjson(target)
    else:
        risky = pl.col(pl.String).str.contains(_FORMULA)
        safe = pl.when(risky).then("'" + pl.col(pl.String)).otherwise(pl.col(pl.String))
        # The mark lets spreadsheets see that it is UTF-8.
        frame.with_columns(safe.name.keep()).write_csv(target, include_bom=True)
    write_file(path, target.getvalue())
