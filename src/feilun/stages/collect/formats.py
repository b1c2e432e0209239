"""The formats of files that can be read, and what a file may cost."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PACKED = (".gz", ".zst")
"""The endings of files that are packed."""
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
    ".txt": "text",
    ".conll": "text",
    ".bio": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
}
"""The format that the ending of a file's name promises."""
DOCUMENTS = frozenset({"text", "document", "markdown", "html", "pdf"})
"""The formats that are no tables; `document` is a text file that is one record."""
_NEVER_PACKED = frozenset({"parquet", "arrow", "excel", "pdf"})


class Limits(NamedTuple):
    """What a file may cost, in bytes."""

    most_bytes: int = 4 << 20
    """of one record; a longer one is quarantined as `too_long`"""
    most_unpacked: int = 8 << 30
    """that a packed file may unpack to"""


LIMITS = Limits()


def form_of(path: Path) -> str | None:
    """The format of a file by its name's ending, also before .gz or .zst; None: none of ours."""
    ending, packed = path.suffix.lower(), path.suffix.lower() in PACKED
    if packed:
        ending = Path(path.stem).suffix.lower()
    form = FORMATS.get(ending)
    return None if packed and form in _NEVER_PACKED else form
