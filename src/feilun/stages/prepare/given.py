"""What a run of prepare is given: the records in shards, the frozen test, its scratch folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from feilun.core.records import MOST_BYTES, MOST_ROWS, conform
from feilun.core.text import hashes
from feilun.stages.prepare.twins import twin_texts

MOST_PARTS, LEAST_ROWS = 4, 2**11
"""A corpus of one shard is parted into so many, each of so many rows."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Group(NamedTuple):
    """The files of a shard; or of a small corpus, of which the shard is one part of several."""

    paths: list[Path]
    part: int = 0
    parts: int = 1


def grouped(paths: Sequence[Path]) -> list[Group]:
    """The shards: small neighbours together; a corpus of one shard is parted, so that several
    cores have something to do."""
    groups = list(_neighbours(paths))
    if len(groups) != 1:
        return [Group(paths) for paths, _num_rows in groups]
    ((whole, num_rows),) = groups
    parts = max(1, min(MOST_PARTS, num_rows // LEAST_ROWS))
    return [Group(whole, part, parts) for part in range(parts)]


def _neighbours(paths: Sequence[Path]) -> Iterator[tuple[list[Path], int]]:
    group: list[Path] = []
    num_rows = size = 0
    for path in paths:
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        if group and (num_rows + rows > MOST_ROWS or size + path.stat().st_size > MOST_BYTES // 2):
            yield group, num_rows
            group, num_rows, size = [], 0, 0
        group.append(path)
        num_rows += rows
        size += path.stat().st_size
    if group:
        yield group, num_rows


def frozen_rows(path: Path) -> pl.DataFrame:
    """The records of a file of the frozen test, with their `key`: computed, because the file may
    be of a version that had another one, or fewer columns."""
    frame = conform(pl.read_parquet(path))
    return frame.with_columns(pl.Series("key", hashes(twin_texts(frame)), dtype=pl.UInt64))


def frozen_known(paths: Sequence[Path]) -> pl.DataFrame:
    """`key` and `label` of the whole frozen test."""
    nothing = pl.DataFrame(schema={"key": pl.UInt64, "label": pl.String})
    return pl.concat([nothing, *(frozen_rows(path).select("key", "label") for path in paths)])


def fresh_folder(folder: Path) -> Path:
    """The scratch folder, emptied if the machine was started anew since it was written: what
    was not yet on the disk then may be torn."""
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    mark = folder / "boot"
    if mark.exists() and mark.read_text() != boot:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(boot)
    return folder
