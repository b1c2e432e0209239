"""Files: tables, texts and documents, packed or not, and folders whose names are the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator

from feilun.core.errors import nearest, read_error
from feilun.core.i18n import _
from feilun.stages.collect.formats import DOCUMENTS, LIMITS, Limits, form_of
from feilun.stages.collect.names import NAMES, Layout
from feilun.stages.collect.source import Piece, Quarantine, Source

if TYPE_CHECKING:
    import polars as pl

_ROLES = sorted({"text", "label", "group", "time"}.union(*NAMES.values()))
_TAGGED = (".conll", ".bio")
"""Endings of files whose lines are tokens and tags, wherever they lie."""
_TEXTS_AT_ONCE, _BYTES_AT_ONCE = 4096, 16 << 20


class File(NamedTuple):
    """One file of a source."""

    path: Path
    form: str
    shown: str
    label: str | None
    """the name of its folder, where that is below the source's"""


class Files(Source):
    """A file, or a folder: its files, and sub-folders whose name labels every text in them."""

    # What reads is imported where it is needed: a process that serves only knows the settings.

    use: ClassVar[str] = "files"

    path: str = Field(min_length=1, description="relative to the project, or absolute")
    columns: dict[str, str] = Field(
        {}, description="{ text = …, label = …, group = …, time = … }; what is missing is guessed"
    )
    format: Literal[
        "auto", "csv", "tsv", "json", "jsonl", "parquet", "arrow", "excel",
        "text", "markdown", "html", "pdf",
    ] = Field("auto", description="auto: by the file's ending")  # fmt: skip
    layout: Layout = Field("auto", description="what the columns mean; auto: by their names")
    encoding: str = Field("auto", description="auto: UTF-8, GB18030, Big5 or UTF-16, by the bytes")
    sheet: str | None = Field(None, description="of a workbook; the first if left out")
    most_bytes: int = Field(
        LIMITS.most_bytes, ge=1024, le=1 << 28, description="of one record; longer ones are left"
    )
    most_unpacked: int = Field(
        LIMITS.most_unpacked, ge=1 << 20, description="bytes that a .gz or .zst may unpack to"
    )

    @field_validator("columns")
    @classmethod
    def _no_misspelt_role(cls, value: dict[str, str]) -> dict[str, str]:
        for role in value:
            guess = None if role in _ROLES else nearest(role, _ROLES)
            if guess:
                raise ValueError(
                    _("columns maps roles such as {known}; did '{role}' mean '{guess}'?").format(
                        known="text, label, group, time", role=role, guess=guess
                    )
                )
        return value

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """A piece for each table, and one for all texts and documents together; raises
        `FileMissing`, and `NoRecords` for a folder without a file of ours."""
        files = list(self.files(root))
        documents = [file for file in files if file.form in DOCUMENTS]
        for file in files:
            if file.form not in DOCUMENTS:
                yield Piece(file.shown, self._digest([file]), partial(self._of_table, file))
        if documents:
            shown = documents[0].shown if len(files) == 1 else self.path
            yield Piece(shown, self._digest(documents), partial(self._of_documents, documents))

    def files(self, root: Path) -> Iterator[File]:
        """The files it consists of, in the order of their names; hidden ones are left out."""
        from feilun.stages.collect.reading import FileMissing, NoRecords

        start = root / self.path
        if not start.exists():
            raise FileMissing(start)
        if not start.is_dir():
            yield File(start, self._form(start) or "text", self.path, None)
            return
        count = 0
        for path in sorted(start.rglob("*")):
            inside = path.relative_to(start)
            hidden = any(part.startswith((".", "~$")) for part in inside.parts)
            form = None if hidden or form_of(path) is None else self._form(path)
            if form is not None and path.is_file():
                count += 1
                label = path.parent.name if path.parent != start else None
                if form == "text" and label is not None and not self._is_tagged(path):
                    form = "document"  # one record, and not one for each line
                yield File(path, form, f"{self.path.rstrip('/')}/{inside.as_posix()}", label)
        if not count:
            raise NoRecords(start)

    def chunks(self, file: File, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        """The raw chunks of one file, as `feilun.stages.collect.reading.read` gives them."""
        from feilun.stages.collect import reading

        return reading.read(
            file.path,
            file.form,
            self.encoding,
            quarantine,
            file.shown,
            limits=Limits(self.most_bytes, self.most_unpacked),
            sheet=self.sheet,
        )

    def _form(self, path: Path) -> str | None:
        return form_of(path) if self.format == "auto" else self.format

    def _is_tagged(self, path: Path) -> bool:
        return self.layout == "conll" or Path(path.name.lower()).suffix in _TAGGED

    def _digest(self, files: list[File]) -> str:
        from feilun.stages.collect.reading import FileMissing

        digest = hashlib.sha256(self.model_dump_json().encode())
        for file in files:
            digest.update(f"\x00{file.shown}\x00".encode())
            try:
                with file.path.open("rb") as source:
                    digest.update(hashlib.file_digest(source, "sha256").digest())
            except FileNotFoundError:
                raise FileMissing(file.path) from None
            except OSError as error:
                raise read_error(error, file.path) or error from error
        return "sha256:" + digest.hexdigest()

    def _of_table(self, file: File, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        import polars as pl

        from feilun.stages.collect.chunks import Shaping
        from feilun.stages.collect.reading import UnreadableFile

        # JSON leaves out what a row has not, so a chunk may lack a column of the first.
        sparse = file.form in {"json", "jsonl"}
        shaping = Shaping(self.layout, self.columns, file.shown, None, sparse=sparse)
        try:
            for chunk in self.chunks(file, quarantine):
                frame = shaping.records(chunk, quarantine)
                if file.label is not None and "label" not in frame.columns:
                    frame = frame.with_columns(pl.lit(file.label).alias("label"))
                yield frame
        except pl.exceptions.PolarsError as error:
            raise UnreadableFile(file.path, file.form, error) from error

    def _of_documents(self, files: list[File], quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        import polars as pl

        from feilun.stages.collect.reading import ROW

        waiting: list[pl.DataFrame] = []
        size = 0
        for file in files:
            chunks = self.chunks(file, quarantine)
            if file.form == "text":
                chunks = self._of_lines(chunks, file, quarantine)
            for chunk in chunks:
                # The pages of one document stay on one side of a split.
                group = file.shown if file.form == "pdf" else None
                own = {"label": file.label, "group": group}
                frame = chunk.rename({ROW: "row"}, strict=False).with_columns(
                    pl.lit(file.shown).alias("source"),
                    *(
                        pl.lit(value, dtype=pl.String).alias(name)
                        for name, value in own.items()
                        if name not in chunk.columns  # a tagged file says it itself
                    ),
                )
                waiting.append(frame)
                size += int(frame.estimated_size())
                if len(waiting) >= _TEXTS_AT_ONCE or size >= _BYTES_AT_ONCE:
                    yield pl.concat(waiting, how="diagonal")
                    waiting, size = [], 0
        if waiting:
            yield pl.concat(waiting, how="diagonal")

    def _of_lines(
        self, chunks: Iterator[pl.DataFrame], file: File, quarantine: Quarantine
    ) -> Iterator[pl.DataFrame]:
        from feilun.stages.collect import layouts

        first = next(chunks, None)
        if first is None:
            return
        chunks = chain([first], chunks)
        layout = layouts.detect(first, {}) if self.layout == "auto" else self.layout
        yield from (
            layouts.conll_frames(chunks, file.shown, quarantine) if layout == "conll" else chunks
        )
