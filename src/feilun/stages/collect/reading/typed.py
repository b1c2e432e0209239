"""Parquet and Arrow: tables whose columns have types of their own."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import polars as pl

from feilun.core.errors import read_error
from feilun.core.i18n import _
from feilun.stages.collect.reading.errors import FileMissing, UnreadableFile

PER_FRAME = 65_536
_FILE_MARK = b"ARROW1"
_MESSAGE_MARK = 0xFFFFFFFF
_MOST_METADATA = 64 << 20
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3
_END = struct.pack("<Ii", _MESSAGE_MARK, 0)


def frames(path: Path, form: str) -> Iterator[pl.DataFrame]:
    """The table of a `parquet` or `arrow` file (Feather; the file as well as the stream format),
    at most `PER_FRAME` rows at a time, in their order; raises `FileMissing`, `NotReadable`,
    `UnreadableFile`.

    Held at once: some row groups of Parquet, some record batches of Arrow.
    """
    try:
        with path.open("rb") as source:
            is_stream = form == "arrow" and source.read(len(_FILE_MARK)) != _FILE_MARK
            if is_stream:
                source.seek(0)
                for batch in _stream(source):
                    yield from batch.iter_slices(PER_FRAME)
                return
        scan = pl.scan_parquet if form == "parquet" else pl.scan_ipc
        # A * in the name of a file is a part of it, and a=b in that of its folder no column.
        lazy = scan(path, glob=False, hive_partitioning=False)
        yield from lazy.collect_batches(chunk_size=PER_FRAME, maintain_order=True)
    except FileNotFoundError:
        raise FileMissing(path) from None
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise UnreadableFile(path, form, error) from error
    except OSError as error:
        raise read_error(error, path) or UnreadableFile(path, form, error) from error


def _stream(source: BinaryIO) -> Iterator[pl.DataFrame]:
    """Batch by batch: polars itself reads a stream as a whole only."""
    head = b""
    while message := _message(source):
        kind, content = message
        if kind in (_SCHEMA, _DICTIONARY):
            head += content
        elif kind == _RECORDS:
            yield pl.read_ipc_stream(io.BytesIO(head + content + _END))
    if not head:
        raise ValueError(_("no table begins in it"))


def _message(source: BinaryIO) -> tuple[int, bytes] | None:
    """The next message of a stream, its kind and its bytes; None at the end.

    Format: https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format; of
    its metadata, a Flatbuffer table, the fields 1 (kind) and 3 (length of the body) are read.
    """
    prefix = source.read(8)
    if not prefix:
        return None
    cut_off = ValueError(_("it ends in the middle"))
    if len(prefix) < 8:
        raise cut_off
    mark, size = struct.unpack("<Ii", prefix)
    if mark != _MESSAGE_MARK or not 0 <= size <= _MOST_METADATA:
        raise ValueError(_("no table begins in it"))
    if size == 0:
        return None
    metadata = source.read(size)
    try:
        table = struct.unpack_from("<I", metadata, 0)[0]
        fields = table - struct.unpack_from("<i", metadata, table)[0]
        size_of_fields = struct.unpack_from("<H", metadata, fields)[0]
        # A field that is left out, or beyond the list, has its default: 0.
        kind_at, body_at = (
            struct.unpack_from("<H", metadata, fields + at)[0] if at < size_of_fields else 0
            for at in (6, 10)
        )
        kind = metadata[table + kind_at] if kind_at else 0
        length = struct.unpack_from("<q", metadata, table + body_at)[0] if body_at else 0
    except (struct.error, IndexError):
        raise cut_off from None
    # A length that is not true must not make us ask for that much memory.
    body = source.read(length) if 0 <= length <= os.fstat(source.fileno()).st_size else b""
    if len(body) != length:
        raise cut_off
    return kind, prefix + metadata + body
