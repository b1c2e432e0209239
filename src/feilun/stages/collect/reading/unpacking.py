"""The bytes of a file, block by block; what is packed is unpacked on the way."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from feilun.core.errors import read_error
from feilun.core.i18n import _
from feilun.stages.collect.formats import PACKED
from feilun.stages.collect.reading.errors import (
    MOST_RATIO,
    RATIO_FROM,
    FileMissing,
    UnpacksTooLarge,
    UnreadableFile,
)

BLOCK = 4 << 20
"""Bytes of a block, about; a packed file's blocks may be smaller."""
_ZSTD_STEP = 1024
"""Four bytes of zstd can be 128 KiB of text, so a step of input is at most 32 MiB of output."""
_WINDOW = 1 << 27
"""The largest window of `zstd --long`; larger ones would need that much memory."""


def blocks(path: Path, most: int) -> Iterator[bytes]:
    """The (unpacked) bytes of the file, in blocks of at most about `BLOCK`, none of them empty.

    Raises `FileMissing`, `NotReadable`, `UnreadableFile` for what is damaged or cut off, and
    `UnpacksTooLarge` once more than `most` bytes, or `MOST_RATIO` times the file's own, came
    out. Holds two blocks and 32 MiB at most.
    """
    packing = path.suffix.lower()
    try:
        with path.open("rb") as source:
            if packing not in PACKED:
                while block := source.read(BLOCK):
                    yield block
            else:
                unpacked = _gzip(source) if packing == ".gz" else _zstd(source)
                yield from _bounded(unpacked, source, path, most)
    except FileNotFoundError:
        raise FileMissing(path) from None
    except OSError as error:
        raise read_error(error, path) or UnreadableFile(path, packing or "-", error) from error


def _bounded(unpacked: Iterator[bytes], source: BinaryIO, path: Path, most: int) -> Iterator[bytes]:
    done, waiting, size = 0, [], 0
    try:
        for part in unpacked:
            done += len(part)
            packed = source.tell()
            if done > most or (done > RATIO_FROM and done > MOST_RATIO * packed):
                raise UnpacksTooLarge(path, done, packed, most)
            waiting.append(part)
            size += len(part)
            if size >= BLOCK:
                yield b"".join(waiting)
                waiting, size = [], 0
    except (zlib.error, ValueError) as error:
        raise UnreadableFile(path, path.suffix[1:], error) from error
    if waiting:
        yield b"".join(waiting)


def _gzip(source: BinaryIO) -> Iterator[bytes]:
    """Members after each other, as `cat a.gz b.gz` makes them; zeros may pad the end."""
    unpack, started = zlib.decompressobj(31), False
    while data := source.read(1 << 18):
        while data:
            if not started:
                data = data.lstrip(b"\0")
                if not data:
                    break
                started = True
            part = unpack.decompress(data, BLOCK)
            if part:
                yield part
            data = unpack.unconsumed_tail
            if unpack.eof:
                data = unpack.unused_data
                unpack, started = zlib.decompressobj(31), False
    while started and (part := unpack.decompress(b"", BLOCK)):
        yield part
    if started and not unpack.eof:
        raise ValueError(_("it ends in the middle"))


def _zstd(source: BinaryIO) -> Iterator[bytes]:
    import zstandard

    frames = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    unpack = None
    try:
        while data := source.read(_ZSTD_STEP):
            while data:
                unpack = unpack or frames.decompressobj()
                part = unpack.decompress(data)
                if part:
                    yield part
                data = unpack.unused_data if unpack.eof else b""
                if unpack.eof:
                    unpack = None
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    if unpack is not None:
        raise ValueError(_("it ends in the middle"))
