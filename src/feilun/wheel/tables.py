"""Tables in files, read (every format of a source) and written for people."""

from __future__ import annotations

import os
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Self

import polars as pl

from feilun.core.errors import Invalid, disk_error
from feilun.core.i18n import _
from feilun.stages.collect import layouts, reading
from feilun.stages.collect.columns import ColumnMissing, guess_columns
from feilun.stages.collect.layouts.pairs import SIDES
from feilun.stages.collect.reading import DOCUMENTS, ROW, FileMissing, UnreadableFile
from feilun.stages.collect.source import Quarantine
from feilun.store.disk import TEMPORARY, sync_folder

WRITTEN = (".csv", ".jsonl", ".ndjson", ".parquet")


class UnknownFormat(Invalid):
    """The file's ending names no format that can be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path}: its ending must be .csv, .jsonl or .parquet.").format(path=path),
            remedy=_("Name it {name}.csv").format(name=path.stem),
        )


class UnknownEnding(Invalid):
    """The file's ending names no format that can be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path}: its ending names no format that can be read.").format(path=path),
            remedy=_("Known endings: {endings}; texts also packed: {packed}").format(
                endings=" ".join(reading.FORMATS), packed=" ".join(reading.PACKED)
            ),
        )


def chunks(path: Path, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
    """The table in a file of any of the source formats, chunk by chunk, with `_row`; what cannot
    be read is in the quarantine, which the caller must tell. Raises `FileMissing`,
    `UnknownEnding` and the errors of `feilun.stages.collect.reading`."""
    if not path.exists():
        raise FileMissing(path)
    form = reading.form_of(path)
    if form is None:
        raise UnknownEnding(path)
    yield from reading.read(path, form, "auto", quarantine, str(path))


def texts(path: Path, column: str | None, quarantine: Quarantine) -> Iterator[list[str]]:
    """The texts in a file of any of the source formats, in order, some ten megabytes at a time;
    null becomes empty. The first chunk decides which column is the text, if none is named."""
    is_table = reading.form_of(path) not in DOCUMENTS
    found = column if is_table else "text"
    for number, chunk in enumerate(chunks(path, quarantine)):
        table = chunk.drop(ROW)
        found = found or guess_columns(table, path)["text"]
        if found in table.columns:
            try:
                yield table[found].cast(pl.String).fill_null("").to_list()
            except pl.exceptions.PolarsError as error:
                raise UnreadableFile(path, "text", error) from error
        elif number:
            yield [""] * table.height  # JSON leaves out what no row of a chunk has
        else:
            raise ColumnMissing(path, found, table.columns)


def read_texts(path: Path, column: str | None, quarantine: Quarantine) -> list[str]:
    """All of `texts`."""
    return [text for some in texts(path, column, quarantine) for text in some]


def pairs(
    path: Path, columns: Mapping[str, str], quarantine: Quarantine
) -> Iterator[list[tuple[str, str]]]:
    """The pairs of texts in a table, in order, some ten megabytes at a time; null becomes empty.
    `columns` names those of `first` and `second`, else they are known by their names. Raises
    `ColumnUnclear`, `ColumnMissing`."""
    found: dict[str, str] = {}
    for chunk in chunks(path, quarantine):
        found = found or layouts.resolved(chunk, "pairs", columns, str(path))
        sides = [
            pl.col(found[side]).cast(pl.String).fill_null("")
            if found[side] in chunk.columns
            else pl.lit("").alias(side)
            for side in SIDES
        ]
        yield chunk.select(sides).rows()


def read_pairs(
    path: Path, columns: Mapping[str, str], quarantine: Quarantine
) -> list[tuple[str, str]]:
    """All of `pairs`."""
    return [pair for some in pairs(path, columns, quarantine) for pair in some]


def unreadable(quarantine: Quarantine) -> str | None:
    """One sentence about the rows that could not be read, where the first of them stand, and
    why; None: there are none."""
    from feilun.wheel.describe import reason_name

    count = quarantine.counts.total()
    if not count:
        return None
    first: dict[str, int] = {}
    for bad in quarantine.shown:
        first.setdefault(bad.reason, bad.row)
    reasons = ", ".join(
        _("{count:,} {reason} (row {row:,})").format(
            count=number, reason=reason_name(reason), row=first[reason]
        )
        if reason in first
        else f"{number:,} {reason_name(reason)}"
        for reason, number in Counter(quarantine.counts).most_common()
    )
    return _("{count:,} rows could not be read and were left out: {reasons}").format(
        count=count, reasons=reasons
    )


_FORMULA = r"^'*[=+\-@＝＋－＠\t\r\n\x00]"
"""What a spreadsheet would run (also in full width, as those of East Asia take it), and what only
escaped it because it was escaped before."""


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
    with TableWriter(path) as target:
        target.write(frame)


class TableWriter:
    """A table written frame by frame, in the format of the path's ending (see `write_table`);
    it appears under its name, whole and durable, when the block ends without an error."""

    def __init__(self, path: Path) -> None:
        check_ending(path)
        self._path = path
        self._ending = path.suffix.lower()
        self._parts = path.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
        self._count = 0

    def __enter__(self) -> Self:
        try:
            self._parts.mkdir(parents=True)
        except OSError as error:
            raise disk_error(error, self._path) or error from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_more: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            shutil.rmtree(self._parts, ignore_errors=True)

    def write(self, frame: pl.DataFrame) -> None:
        """Adds the frame's rows; every frame has the same columns."""
        try:
            if self._ending == ".parquet":
                # A file of its own for each frame: only whole files can be written.
                frame.write_parquet(self._parts / f"{self._count:08d}.parquet")
            else:
                with (self._parts / "rows").open("ab") as target:
                    self._append(frame, target)
        except OSError as error:
            raise disk_error(error, self._path) or error from error
        self._count += 1

    def _append(self, frame: pl.DataFrame, target: IO[bytes]) -> None:
        if self._ending in {".jsonl", ".ndjson"}:
            frame.write_ndjson(target)
            return
        risky = pl.col(pl.String).str.contains(_FORMULA)
        safe = pl.when(risky).then("'" + pl.col(pl.String)).otherwise(pl.col(pl.String))
        first = not self._count
        # The mark lets spreadsheets see that it is UTF-8.
        frame.with_columns(safe.name.keep()).write_csv(
            target, include_bom=first, include_header=first
        )

    def _finish(self) -> None:
        rows = self._parts / "rows"
        try:
            if self._ending == ".parquet":
                parts = sorted(self._parts.glob("*.parquet"))
                pl.scan_parquet(parts).sink_parquet(rows)
            with rows.open("rb") as written:
                os.fsync(written.fileno())
            rows.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise disk_error(error, self._path) or error from error
