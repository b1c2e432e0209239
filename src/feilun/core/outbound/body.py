"""The bytes of an answer, unpacked within a limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator

ACCEPTED = "gzip"
_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 1 << 16


class TooLarge(Exception):
    """There is more than the limit; nobody knows how much."""


class NotUnpackable(Exception):
    """The bytes are not packed as their header says."""


def unpacked(chunks: Iterable[bytes], encoding: str, limit: int) -> bytes:
    """At most `limit` bytes out of `chunks`, unpacked from gzip or deflate; raises `TooLarge`
    at the first byte more, `NotUnpackable`. A bomb costs no more than `limit` and one piece."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        pieces: Iterable[bytes] = chunks
    elif name in {"gzip", "x-gzip"}:
        pieces = _inflated(chunks, lambda _head: _GZIP)
    elif name == "deflate":
        pieces = _inflated(chunks, _zlib_or_raw)
    else:
        raise NotUnpackable(name)
    whole = bytearray()
    for piece in pieces:
        if len(whole) + len(piece) > limit:
            raise TooLarge
        whole += piece
    return bytes(whole)


def _zlib_or_raw(head: bytes) -> int:
    """Some send deflate without the header it should have (RFC 9110, 8.4.1.2)."""
    has_header = head[0] & 0x0F == 8 and int.from_bytes(head[:2]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS


def _inflated(chunks: Iterable[bytes], packing: Callable[[bytes], int]) -> Iterator[bytes]:
    machine = None
    head = b""
    for chunk in chunks:
        rest = head + chunk
        if machine is None and len(rest) < 2:
            head = rest
            continue
        head = b""
        while rest:
            if machine is None or machine.eof:  # packed files may stand one after another
                machine = zlib.decompressobj(packing(rest))
            try:
                piece = machine.decompress(rest, _PIECE)
            except zlib.error as error:
                raise NotUnpackable(str(error)) from error
            rest = machine.unused_data if machine.eof else machine.unconsumed_tail
            yield piece
    # An empty body is empty, whatever it claims; one that has begun has an end.
    if head or (machine is not None and not machine.eof):
        raise NotUnpackable("unexpected end")
