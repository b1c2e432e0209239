"""What a run of prepare is given: the records in shards, the frozen test, its scratch folder."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from feilun.core.records import MOST_BYTES, MOST_ROWS, conform
from feilun.core.text import hashes
from feilun.stages.prepare.fit import answers
from feilun.stages.prepare.twins import twin_texts
from feilun.tasks import Task

LEAST_ROWS = 2**11
"""In a part of a corpus of one shard."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Group(NamedTuple):
    """The files of a shard; or of a small corpus, of which the shard is one part of several."""

    paths: list[Path]
    part: int = 0
    parts: int = 1


def grouped(paths: Sequence[Path], cores: int = 1) -> list[Group]:
    """The shards: small neighbours together; a corpus of one shard is parted, so that each of
    several cores has something to do."""
    groups = list(_neighbours(paths))
    if len(groups) != 1:
        return [Group(paths) for paths, _num_rows in groups]
    ((whole, num_rows),) = groups
    parts = max(1, min(cores, num_rows // LEAST_ROWS))
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


def frozen_known(paths: Sequence[Path], task: Task) -> pl.DataFrame:
    """`key` and `label` (what it answers) of the whole frozen test."""
    parts = [pl.DataFrame(schema={"key": pl.UInt64, "label": pl.String})]
    for path in paths:
        frame = frozen_rows(path)
        parts.append(frame.select("key").with_columns(answers(frame, task)))
    return pl.concat(parts)


def frozen_labels(paths: Sequence[Path], task: Task) -> dict[str, int]:
    """How often each label occurs in the frozen test."""
    counts: Counter[str] = Counter()
    for path in paths:
        counts.update(task.labels(frozen_rows(path)))
    return dict(sorted(counts.items()))


def fresh_folder(folder: Path, num_shards: int) -> Path:
    """The scratch folder, emptied if the machine was started anew since it was written: what
    was not yet on the disk then may be torn; or if the records were parted in another way."""
    boot = _BOOT.read_text().strip() if _BOOT.exists() else ""
    mark, now = folder / "boot", f"{boot} {num_shards}"
    if mark.exists() and mark.read_text() != now:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(now)
    return folder
