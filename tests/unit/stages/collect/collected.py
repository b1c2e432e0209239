"""What a source of files gives, as the stage would keep it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from feilun.core.records import SCHEMA, conform
from feilun.stages.collect import reading
from feilun.stages.collect.files import Files
from feilun.stages.collect.source import Quarantine

Row = dict[str, Any]


def collected(source: Files, root: Path, quarantine: Quarantine | None = None) -> pl.DataFrame:
    """The records of all of its pieces, in the order of the pieces."""
    frames = [pl.DataFrame(schema=SCHEMA)]
    for piece in source.pieces(root, None):
        for frame in piece.frames(quarantine or Quarantine()):
            named = (
                frame
                if "source" in frame.columns
                else frame.with_columns(pl.lit(piece.name).alias("source"))
            )
            frames.append(conform(named))
    return pl.concat(frames)


def read(folder: Path, name: str, content: bytes | str, **more: Any) -> pl.DataFrame:
    """The records of one file with that content."""
    return read_all(folder, name, content, **more)[0]


def read_all(
    folder: Path, name: str, content: bytes | str, **more: Any
) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
    """The same, and the row and reason of each that was quarantined."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    quarantine = Quarantine()
    frame = collected(Files(path=name, **more), folder, quarantine)
    assert {bad.source for bad in quarantine.shown} <= {name}
    return frame, told(quarantine)


def told(quarantine: Quarantine) -> list[tuple[int, str]]:
    return sorted((bad.row, bad.reason) for bad in quarantine.shown)


def parsed(
    content: bytes | str,
    form: str,
    *,
    block: int = 1 << 20,
    limits: reading.Limits = reading.LIMITS,
    encoding: str = "auto",
) -> tuple[list[Row], list[tuple[int, str]]]:
    """The raw rows in some bytes that come in blocks of a size, each without its empty cells,
    and what was quarantined."""
    data = content.encode() if isinstance(content, str) else content
    quarantine = Quarantine()
    blocks = (data[at : at + block] for at in range(0, len(data), block))
    frames = reading.parse(blocks, form, encoding, quarantine, "x", limits=limits)
    return rows(frames), told(quarantine)


def rows(frames: Iterable[pl.DataFrame]) -> list[Row]:
    return [
        {name: value for name, value in row.items() if value is not None}
        for frame in frames
        for row in frame.rows(named=True)
    ]
