"""Files that are texts as a whole, and the pages of PDFs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from feilun.core.errors import read_error
from feilun.core.i18n import _
from feilun.stages.collect.reading.encodings import as_utf8
from feilun.stages.collect.reading.errors import FileMissing, UnreadableFile
from feilun.stages.collect.reading.unpacking import blocks

# It warns of every small flaw of a file, on standard error where nobody listens.
logging.getLogger("pypdf").setLevel(logging.CRITICAL)


def whole_text(
    path: Path,
    encoding: str,
    most: int,
    most_unpacked: int,
    quarantine: Callable[[int, str, str | bytes], None],
) -> str | None:
    """The file as one text, markup and all; None for one that holds nothing, and for one that
    was quarantined as `too_long` (more than `most` bytes) or `not_text`."""
    parts, size = [], 0
    for part in as_utf8(blocks(path, most_unpacked), encoding, path):
        parts.append(part)
        size += len(part)
        if size > most:
            quarantine(1, "too_long", parts[0][:800])
            return None
    content = b"".join(parts)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        quarantine(1, "not_text", content[:800])
        return None
    return text or None


def pages(
    path: Path, most: int, quarantine: Callable[[int, str, str | bytes], None]
) -> Iterator[tuple[int, str]]:
    """The number and text of each page of a PDF; pages without text (scanned ones) are
    quarantined as `no_text`, those that cannot be read as `bad_page`. Raises `FileMissing`,
    `NotReadable`, `UnreadableFile`.

    A page and not the whole file is a record: a book would be too long for any model, and its
    page says where a text stands. `pypdf` refuses streams that unpack to more than 75 MB.
    """
    import pypdf

    try:
        source = path.open("rb")
    except FileNotFoundError:
        raise FileMissing(path) from None
    except OSError as error:
        raise read_error(error, path) or UnreadableFile(path, "pdf", error) from error
    with source:
        try:
            reader = pypdf.PdfReader(source)
            if reader.is_encrypted and not reader.decrypt(""):
                raise ValueError(_("it is encrypted"))
            count = len(reader.pages)
        except Exception as error:  # a broken file can make pypdf fail at anything
            raise UnreadableFile(path, "pdf", error) from error
        for number in range(1, count + 1):
            try:
                text = reader.pages[number - 1].extract_text()
            except Exception as error:
                quarantine(number, "bad_page", str(error))
                continue
            # Halves of characters come out of some fonts; UTF-16 puts them together.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            if not text.strip():
                quarantine(number, "no_text", "")
            elif len(text) > most:
                quarantine(number, "too_long", text)
            else:
                yield number, text
