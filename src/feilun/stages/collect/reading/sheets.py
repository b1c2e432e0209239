"""Excel and OpenDocument: one sheet of a workbook."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from feilun.core.errors import read_error
from feilun.stages.collect.reading.errors import FileMissing, UnreadableFile, WorkbookTooLarge
from feilun.stages.collect.reading.header import ROW, named_apart
from feilun.stages.collect.reading.typed import PER_FRAME

MOST_UNPACKED = 1 << 30
"""Bytes that a workbook, which is a ZIP archive, may unpack to: it is read as a whole."""


def frames(path: Path, sheet: str | None) -> Iterator[pl.DataFrame]:
    """The table on the sheet named, or on the first, under its first row as header: dates and
    numbers as such, a column of several types as text; empty rows are left out. With `_row`,
    the number below the header. Raises `FileMissing`, `NotReadable`, `UnreadableFile`,
    `WorkbookTooLarge`."""
    from fastexcel import FastExcelError

    which: dict[str, Any] = {"sheet_name": sheet} if sheet else {"sheet_id": 1}
    try:
        _check_size(path)
        frame = pl.read_excel(
            path,
            engine="calamine",
            infer_schema_length=None,  # all rows: a word below a thousand numbers is not lost
            drop_empty_rows=False,  # they count
            raise_if_empty=False,
            **which,
        )
    except FileNotFoundError:
        raise FileMissing(path) from None
    except OSError as error:
        raise read_error(error, path) or UnreadableFile(path, "excel", error) from error
    except (FastExcelError, pl.exceptions.PolarsError, ValueError, zipfile.BadZipFile) as error:
        raise UnreadableFile(path, "excel", error) from error
    names = ["" if name.startswith("__UNNAMED__") else name for name in frame.columns]
    frame.columns = named_apart(names)
    frame = frame.with_columns(pl.int_range(1, pl.len() + 1).alias(ROW))
    filled = frame.filter(~pl.all_horizontal(pl.exclude(ROW).is_null())) if names else frame
    yield from filled.iter_slices(PER_FRAME)


def _check_size(path: Path) -> None:
    if not zipfile.is_zipfile(path):
        return  # .xls, which is not packed, or none at all
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MOST_UNPACKED:
        raise WorkbookTooLarge(path, unpacked, MOST_UNPACKED)
