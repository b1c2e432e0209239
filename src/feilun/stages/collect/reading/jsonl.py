"""JSON Lines: one object a line; a bad line is told and the others are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from feilun.stages.collect.reading.lines import cut, decoded
from feilun.stages.collect.reading.objects import Rows

_WHITE = " \t\r"


def frames(
    blocks: Iterator[bytes], most: int, quarantine: Callable[[int, str, str | bytes], None]
) -> Iterator[pl.DataFrame]:
    """Frames of text columns and `_row`, the number of the line; a key that no line of a frame
    has is no column of it. Quarantined: `too_long`, `not_text`, `not_json`, `too_deep`,
    `not_an_object`."""

    def too_long(number: int, beginning: bytes) -> None:
        quarantine(number, "too_long", beginning)

    for first, piece in cut(blocks, most, too_long):
        rows = Rows(quarantine)
        for number, line in enumerate(decoded(piece, first, quarantine), start=first):
            if line and (row := line.strip(_WHITE)):
                rows.add(number, row)
        yield from rows.taken()
