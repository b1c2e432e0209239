"""What stops the reading of a whole file; a bad row of it goes to the quarantine instead."""

from __future__ import annotations

from pathlib import Path

from feilun.core.errors import Invalid, Missing, shortened
from feilun.core.i18n import _


class FileMissing(Missing):
    """A source file is not there (any more)."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("The source {path} is not there.").format(path=path),
            remedy=_("Put it back, or mend `path` under [[collect.sources]] in feilun.toml."),
        )


class UnreadableEncoding(Invalid):
    """A file is in none of the encodings tried."""

    def __init__(self, path: Path | str, tried: str, at: int) -> None:
        super().__init__(
            _("{path} is not text in {tried}: byte {at} does not fit.").format(
                path=path, tried=shortened(tried), at=at
            ),
            remedy=_(
                "Set `encoding` under [[collect.sources]] in feilun.toml, or convert it: "
                "iconv -f ENCODING -t UTF-8"
            ),
        )


class UnreadableFile(Invalid):
    """A file does not have the format its name promises."""

    def __init__(self, path: Path | str, form: str, reason: object) -> None:
        first = next(iter(str(reason).splitlines()), "") or type(reason).__name__
        super().__init__(
            _("{path} cannot be read as {format}: {reason}").format(
                path=path, format=form, reason=shortened(first, 200)
            ),
            remedy=_("Mend the file, or set `format` under [[collect.sources]] in feilun.toml."),
        )


class UnpacksTooLarge(Invalid):
    """A compressed file unpacks to more than it may."""

    def __init__(self, path: Path | str, unpacked: int, packed: int, most: int) -> None:
        super().__init__(
            _(
                "{path} unpacks to more than it may: {unpacked:,} bytes and counting, from "
                "{packed:,}; the limit is {most:,} bytes, or {ratio} times its own size."
            ).format(path=path, unpacked=unpacked, packed=packed, most=most, ratio=MOST_RATIO),
            remedy=_("If you trust it, raise `most_unpacked` under [[collect.sources]].")
            if unpacked > most
            else _("If you trust it, unpack it yourself: gzip -d, zstd -d"),
        )


class WorkbookTooLarge(Invalid):
    """A workbook, which is read as a whole, unpacks to more than it may."""

    def __init__(self, path: Path | str, unpacked: int, most: int) -> None:
        super().__init__(
            _(
                "{path} unpacks to {unpacked:,} bytes; the limit for a workbook is {most:,} bytes: "
                "MOST_UNPACKED in stages/collect/reading/sheets.py."
            ).format(path=path, unpacked=unpacked, most=most),
            remedy=_("Save the sheet as .csv, which is read piece by piece."),
        )


class NoRecords(Invalid):
    """A source has not one record."""

    def __init__(self, path: Path | str) -> None:
        from feilun.stages.collect.reading import FORMATS, PACKED

        super().__init__(
            _("{path} holds no records.").format(path=path),
            remedy=_("Known endings: {endings}; texts also packed: {packed}").format(
                endings=" ".join(FORMATS), packed=" ".join(PACKED)
            ),
        )


MOST_RATIO = 250
"""How many times its own size a packed file may unpack to, once that is `RATIO_FROM`: real
tables and logs stay below 100; a gzip bomb has 1,000, one of zstd 10,000 and more."""
RATIO_FROM = 64 << 20
