"""Files: CSV, TSV, JSON, JSONL, Parquet, text, and folders whose names are the labels."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from feilun.core.errors import Invalid, Missing, read_error, shortened
from feilun.core.i18n import _
from feilun.stages.collect.columns import ColumnMissing, guess_columns
from feilun.stages.collect.source import Source

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".txt": "text",
}
COLUMNS = ("text", "label")


class FileMissing(Missing):
    """A source file is not there (any more)."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("The source {path} is not there.").format(path=path),
            remedy=_("Put it back, or mend `path` under [[collect.sources]] in feilun.toml."),
        )


class UnreadableEncoding(Invalid):
    """A file is in none of the encodings tried."""

    def __init__(self, path: Path, tried: str, at: int) -> None:
        super().__init__(
            _("{path} is not text in {tried}: byte {at} does not fit.").format(
                path=path, tried=tried, at=at
            ),
            remedy=_(
                "Set `encoding` under [[collect.sources]] in feilun.toml, or convert it: "
                "iconv -f ENCODING -t UTF-8"
            ),
        )


class UnreadableFile(Invalid):
    """A file does not have the format its name promises."""

    def __init__(self, path: Path, form: str, reason: str) -> None:
        super().__init__(
            _("{path} cannot be read as {format}: {reason}").format(
                path=path, format=form, reason=shortened(reason, 200)
            ),
            remedy=_("Mend the file, or set `format` under [[collect.sources]] in feilun.toml."),
        )


class NoRecords(Invalid):
    """A source has not one record."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path} holds no records.").format(path=path),
            remedy=_("Known endings: {endings}").format(endings=" ".join(FORMATS)),
        )


class Files(Source):
    """A file, or a folder: its files, and sub-folders whose name labels every text in them."""

    use: ClassVar[str] = "files"

    path: str = Field(min_length=1, description="relative to the project, or absolute")
    columns: dict[str, str] = Field({}, description="{ text = …, label = … }; guessed if empty")
    format: Literal["auto", "csv", "tsv", "json", "jsonl", "parquet", "text"] = Field(
        "auto", description="auto: by the file's ending"
    )
    encoding: str = Field("auto", description="auto: UTF-8, then GB18030")

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, value: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(value) - set(COLUMNS))
        if unknown:
            raise ValueError(
                _("columns maps only {known}, not {unknown}").format(
                    known=", ".join(COLUMNS), unknown=", ".join(unknown)
                )
            )
        return value

    def identity(self, root: Path) -> str:
        """The digest of every file's name and bytes."""
        digest = hashlib.sha256()
        start = root / self.path
        for path, _form in self._paths(start):
            digest.update(f"{path.relative_to(start.parent)}\x00".encode())
            try:
                with path.open("rb") as source:
                    digest.update(hashlib.file_digest(source, "sha256").digest())
            except OSError as error:
                raise read_error(error, path) or error from error
        return "sha256:" + digest.hexdigest()

    def read(self, root: Path) -> pl.DataFrame:
        """Every record of every file, in the order of the files' names."""
        start = root / self.path
        frames = [self._read_one(path, form, start) for path, form in self._paths(start)]
        frames = [frame for frame in frames if frame.height]
        if not frames:
            raise NoRecords(start)
        return pl.concat(frames)

    def _paths(self, start: Path) -> Iterator[tuple[Path, str]]:
        if start.is_dir():
            found = [
                p for p in sorted(start.rglob("*")) if p.suffix.lower() in FORMATS and p.is_file()
            ]
            if not found:
                raise NoRecords(start)
        elif start.exists():
            found = [start]
        else:
            raise FileMissing(start)
        for path in found:
            form = (
                FORMATS.get(path.suffix.lower(), "text") if self.format == "auto" else self.format
            )
            yield path, form

    def _read_one(self, path: Path, form: str, start: Path) -> pl.DataFrame:
        in_labelled_folder = start.is_dir() and path.parent != start
        if form == "text":
            text = _decode(path, self.encoding)
            lines = [text] if in_labelled_folder else _lines(text)
            table = pl.DataFrame({"text": lines}, schema={"text": pl.String})
            columns = {"text": "text"}
        else:
            table = read_table(path, form, self.encoding)
            if table.width == 0 or table.height == 0:
                return pl.DataFrame()
            columns = (
                {**guess_columns(table, path), **self.columns}
                if ("text" not in self.columns)
                else self.columns
            )
        for column in columns.values():
            if column not in table.columns:
                raise ColumnMissing(path, column, table.columns)
        label = (
            pl.col(columns["label"])
            if "label" in columns
            else pl.lit(path.parent.name if in_labelled_folder else None)
        )
        cleaned = label.cast(pl.String).str.strip_chars()
        try:
            return self._records(table, columns["text"], cleaned, self._shown(path, start))
        except pl.exceptions.PolarsError as error:
            raise UnreadableFile(path, form, str(error).splitlines()[0]) from error

    @staticmethod
    def _records(table: pl.DataFrame, text: str, cleaned: pl.Expr, source: str) -> pl.DataFrame:
        return table.select(
            text=pl.col(text).cast(pl.String),
            label=pl.when(cleaned != "").then(cleaned),
            source=pl.lit(source),
            row=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        )

    def _shown(self, path: Path, start: Path) -> str:
        inside = path.relative_to(start) if path != start else None
        return self.path if inside is None else f"{self.path.rstrip('/')}/{inside}"


def read_table(path: Path, form: str, encoding: str = "auto") -> pl.DataFrame:
    """The table in a file of one of `FORMATS`; text formats are decoded first; raises
    `UnreadableFile`, `UnreadableEncoding`."""
    try:
        if form == "parquet":
            return pl.read_parquet(path)
        text = _decode(path, encoding)
        if not text.strip():
            return pl.DataFrame()
        if form in {"csv", "tsv"}:
            # Every column as text: a label 01 must not become 1, nor a text 1e5 a number.
            return pl.read_csv(
                io.BytesIO(text.encode()),
                separator="," if form == "csv" else "\t",
                infer_schema=False,
                quote_char='"',
            )
        return _from_json(text, form)
    except (pl.exceptions.PolarsError, ValueError, RecursionError) as error:
        raise UnreadableFile(path, form, str(error).splitlines()[0]) from error
    except OSError as error:
        raise read_error(error, path) or UnreadableFile(path, form, str(error)) from error


def _from_json(text: str, form: str) -> pl.DataFrame:
    if form == "jsonl":
        rows: Any = []
        for number, line in enumerate(_lines(text), start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except ValueError as error:
                    raise ValueError(
                        _("row {row}: {reason}").format(row=number, reason=error)
                    ) from None
    else:
        rows = json.loads(text)
    if isinstance(rows, dict):
        # {"data": [ … ]}: the one list in it
        rows = next((value for value in rows.values() if isinstance(value, list)), [rows])
    if not isinstance(rows, list):
        raise ValueError(_("the top level is neither a list nor an object"))
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(_("row {row} is not an object {{…}}").format(row=number))
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame({name: [_text(row.get(name)) for row in rows] for name in names})


def _lines(text: str) -> list[str]:
    """The lines, ended by a line feed (and carriage return) only: `str.splitlines` also cuts at
    characters that stand inside a record, such as U+2028."""
    lines = re.split(r"\r\n|\n|\r", text)
    return lines[:-1] if lines[-1] == "" else lines


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _decode(path: Path, encoding: str) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileMissing(path) from None
    except OSError as error:
        raise read_error(error, path) or error from error
    tried = ["utf-8-sig", "gb18030"] if encoding == "auto" else [encoding]
    furthest = 0
    for name in tried:
        try:
            return content.decode(name)
        except UnicodeDecodeError as error:
            furthest = max(furthest, error.start)
        except LookupError:
            pass
    raise UnreadableEncoding(path, " / ".join(tried), furthest)
