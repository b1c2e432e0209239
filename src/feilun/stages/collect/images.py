"""Images: a folder of pictures; the name of a sub-folder labels those in it."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

import polars as pl
from pydantic import Field

from feilun.core.errors import Missing, read_error
from feilun.core.i18n import _
from feilun.stages.collect.layouts.rows import canonical
from feilun.stages.collect.reading.errors import FileMissing
from feilun.stages.collect.source import Piece, Quarantine, Source

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
_PER_FRAME = 4_096


class NoImages(Missing):
    """A folder has not one file with the ending of an image."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(
            _("{path} holds no images.").format(path=path),
            remedy=_("Known endings: {endings}").format(endings=" ".join(ENDINGS)),
        )


class Images(Source):
    """A folder of images, and its sub-folders, whose names label the images in them.

    A record has no text: `fields.image` has path, sha256, bytes, format, width and height, read
    from the file's header, whatever its ending says. The images stay where they are: collecting
    notes them and copies none, so keep the folder as long as its records are used.
    """

    use: ClassVar[str] = "images"

    path: str = Field(min_length=1, description="the folder; relative to the project, or absolute")
    most_bytes: int = Field(
        64 << 20, ge=1, description="of one image; a larger one goes to the quarantine"
    )
    most_pixels: int = Field(
        100_000_000, ge=1, description="width × height of one image; beyond it, the quarantine"
    )

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """One per folder with images, by name; `row` is an image's place in its folder. Raises
        `FileMissing`, `NoImages`, `NotReadable`."""
        start = root / self.path
        if not start.exists():
            raise FileMissing(start)
        found = sorted(start.rglob("*")) if start.is_dir() else [start]
        folders: dict[Path, list[Path]] = {}
        for path in found:
            if path.suffix.lower() in ENDINGS and path.is_file():
                folders.setdefault(path.parent, []).append(path)
        if not folders:
            raise NoImages(self.path)
        for folder, paths in sorted(folders.items()):
            label = folder.name if folder != start and start.is_dir() else None
            yield Piece(
                self._shown(folder if start.is_dir() else start, start),
                _identity(paths),
                self._reader(paths, label, start),
            )

    def _shown(self, path: Path, start: Path) -> str:
        if path == start:
            return self.path
        return f"{self.path.rstrip('/')}/{path.relative_to(start).as_posix()}"

    def _reader(
        self, paths: list[Path], label: str | None, start: Path
    ) -> Callable[[Quarantine], Iterator[pl.DataFrame]]:
        name = self._shown(paths[0].parent if start.is_dir() else start, start)

        def frames(quarantine: Quarantine) -> Iterator[pl.DataFrame]:
            for first in range(0, len(paths), _PER_FRAME):
                rows, fields = [], []
                for row, path in enumerate(paths[first : first + _PER_FRAME], start=first + 1):
                    noted = self._noted(path, start)
                    if isinstance(noted, str):
                        quarantine.add(name, row, noted, path.name)
                        continue
                    rows.append(row)
                    fields.append(canonical({"image": noted}))
                yield pl.DataFrame(
                    {"row": rows, "fields": fields}, schema={"row": pl.Int64, "fields": pl.String}
                ).with_columns(
                    pl.lit(None, dtype=pl.String).alias("text"),
                    pl.lit(label, dtype=pl.String).alias("label"),
                )

        return frames

    def _noted(self, path: Path, start: Path) -> dict[str, str | int] | str:
        """What is noted of an image, or the reason why nothing is."""
        try:
            if path.stat().st_size > self.most_bytes:
                return "image_too_large"
            content = path.read_bytes()
        except OSError as error:
            raise read_error(error, path) or error from error
        shape = shape_of(content)
        if shape is None:
            return "not_an_image"
        if shape.width * shape.height > self.most_pixels:
            return "image_too_large"
        return {
            "path": self._shown(path, start),
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            **shape._asdict(),
        }


class Shape(NamedTuple):
    """What an image's header says; width and height in pixels."""

    format: str
    width: int
    height: int


def shape_of(content: bytes) -> Shape | None:
    """The format and size of an image; None where the bytes are none of `ENDINGS`' formats, or
    stop before the image does. The pixels are not decoded."""
    for name, start, read in (
        ("png", b"\x89PNG\r\n\x1a\n", _png),
        ("jpeg", b"\xff\xd8\xff", _jpeg),
        ("gif", b"GIF8", _gif),
        ("webp", b"RIFF", _webp),
        ("bmp", b"BM", _bmp),
    ):
        if content.startswith(start):
            try:
                width, height = read(content)
            except (struct.error, IndexError, ValueError):
                return None
            return Shape(name, width, height) if width > 0 and height > 0 else None
    return None


def _identity(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\x00".encode(errors="surrogateescape"))
        try:
            with path.open("rb") as source:
                digest.update(hashlib.file_digest(source, "sha256").digest())
        except OSError as error:
            raise read_error(error, path) or error from error
    return "sha256:" + digest.hexdigest()


def _png(content: bytes) -> tuple[int, int]:
    """ISO/IEC 15948: IHDR is the first chunk, IEND the last; each has a checksum."""
    length, kind = struct.unpack_from(">I4s", content, 8)
    (checksum,) = struct.unpack_from(">I", content, 29)
    if kind != b"IHDR" or length != 13 or zlib.crc32(content[12:29]) != checksum:
        raise ValueError
    at = 8
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at)
        at += 12 + length
    if at > len(content):
        raise ValueError
    width, height = struct.unpack_from(">II", content, 16)
    return width, height


def _jpeg(content: bytes) -> tuple[int, int]:
    """ITU T.81: segments up to the frame header (SOF), which holds height before width."""
    at = 2
    size: tuple[int, int] | None = None
    while True:
        if content[at] != 0xFF:
            raise ValueError
        while content[at] == 0xFF:
            at += 1
        marker = content[at]
        at += 1
        if marker == 0xDA:  # the scan begins; the image ends with EOI
            if size is None or content.rfind(b"\xff\xd9") < at:
                raise ValueError
            return size
        if marker in (0x01, *range(0xD0, 0xD8)):
            continue
        (length,) = struct.unpack_from(">H", content, at)
        # C4, C8 and CC are tables and extensions, the others C0 to CF are frames.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 3)
            size = width, height
        at += max(2, length)


def _gif(content: bytes) -> tuple[int, int]:
    """GIF89a: blocks up to the trailer (which some files lack); of each only the length is read."""
    width, height, packed = struct.unpack_from("<HHB", content, 6)
    if content[4:6] not in (b"7a", b"9a"):
        raise ValueError
    at = 13 + _palette(packed)
    images = 0
    while at < len(content) and content[at] != 0x3B:
        if content[at] == 0x21:
            at += 2
        elif content[at] == 0x2C:
            at += 11 + _palette(content[at + 9])
            images += 1
        else:
            raise ValueError
        while content[at]:
            at += 1 + content[at]
        at += 1
    if not images:
        raise ValueError
    return width, height


def _palette(packed: int) -> int:
    """The bytes of a GIF's colour table."""
    return 3 << ((packed & 7) + 1) if packed & 0x80 else 0


def _webp(content: bytes) -> tuple[int, int]:
    """RFC 9649: lossy (VP8), lossless (VP8L) or extended (VP8X)."""
    (length,) = struct.unpack_from("<I", content, 4)
    kind = content[8:16]
    if length + 8 > len(content):
        raise ValueError
    if kind == b"WEBPVP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"WEBPVP8L" and content[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"WEBPVP8X" and len(content) >= 30:
        return (
            int.from_bytes(content[24:27], "little") + 1,
            int.from_bytes(content[27:30], "little") + 1,
        )
    raise ValueError


def _bmp(content: bytes) -> tuple[int, int]:
    """The header of OS/2 (12 bytes) or of Windows (40 and more); a negative height: upside down."""
    pixels, header = struct.unpack_from("<II", content, 10)
    if header == 12:
        width, height = struct.unpack_from("<HH", content, 18)
    elif 40 <= header <= 256:
        width, height = struct.unpack_from("<ii", content, 18)
    else:
        raise ValueError
    if pixels >= len(content):
        raise ValueError
    return width, abs(height)
