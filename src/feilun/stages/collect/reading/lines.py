"""The lines of a text, many at a time, none of them longer than it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from feilun.stages.collect.reading.header import ROW

EXCERPT_BYTES = 800
"""Of a line that is too long, enough for the quarantine's excerpt."""


def cut(
    blocks: Iterator[bytes], most: int, too_long: Callable[[int, bytes], None]
) -> Iterator[tuple[int, bytes]]:
    """Pieces of whole lines, each with the number of its first line (from 1).

    The last line may lack its line feed. A line of more than `most` bytes is given to
    `too_long`, number and beginning, and left out; of it no more than a block and `most` bytes
    are ever held.
    """
    row, carry, skipping = 1, b"", False
    for block in blocks:
        data = block
        if skipping:
            end = data.find(b"\n")
            if end < 0:
                continue
            data, skipping = data[end + 1 :], False
            row += 1
        data = carry + data
        end = data.rfind(b"\n") + 1
        carry = data[end:]
        if end:
            yield from _without_long(data[:end], row, most, too_long)
            row += data.count(b"\n", 0, end)
        if len(carry) > most:
            too_long(row, carry[:EXCERPT_BYTES])
            carry, skipping = b"", True
    if carry:
        yield row, carry


def _without_long(
    data: bytes, row: int, most: int, too_long: Callable[[int, bytes], None]
) -> Iterator[tuple[int, bytes]]:
    if len(data) <= most:
        yield row, data
        return
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == 10) + 1
    sizes = np.diff(ends, prepend=0)
    start, first = 0, 0
    for at in np.flatnonzero(sizes > most + 1).tolist():
        begin = int(ends[at] - sizes[at])
        if begin > start:
            yield row + first, data[start:begin]
        too_long(row + at, data[begin : begin + EXCERPT_BYTES])
        start, first = int(ends[at]), at + 1
    if start < len(data):
        yield row + first, data[start:]


def decoded(
    piece: bytes, first: int, quarantine: Callable[[int, str, str | bytes], None]
) -> list[str | None]:
    """The lines of a piece from `cut`, without their line feeds; None for one that is not text,
    which was told to the quarantine. `first` is the number of the first line."""
    piece = piece.removesuffix(b"\n")
    if b"\0" not in piece:
        try:
            return list(piece.decode().split("\n"))
        except UnicodeDecodeError:
            pass
    lines: list[str | None] = []
    for number, line in enumerate(piece.split(b"\n"), start=first):
        try:
            text = None if b"\0" in line else line.decode()
        except UnicodeDecodeError:
            text = None
        if text is None:
            quarantine(number, "not_text", line)
        lines.append(text)
    return lines


def frames(
    blocks: Iterator[bytes], most: int, quarantine: Callable[[int, str, str | bytes], None]
) -> Iterator[pl.DataFrame]:
    """Frames of `text`, one row per line, also for an empty one, and `_row`, its number.
    Quarantined: `too_long`, `not_text`."""

    def too_long(number: int, beginning: bytes) -> None:
        quarantine(number, "too_long", beginning)

    for first, piece in cut(blocks, most, too_long):
        texts = pl.Series("text", decoded(piece, first, quarantine), dtype=pl.String)
        rows = pl.int_range(first, first + len(texts), eager=True).alias(ROW)
        frame = pl.DataFrame([texts, rows]).filter(pl.col("text").is_not_null())
        yield frame.with_columns(pl.col("text").str.strip_suffix("\r"))
