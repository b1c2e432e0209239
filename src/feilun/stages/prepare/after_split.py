"""The steps after the split: what they add to the training split, and that nothing leaks by it.

Only records of the training split are given to them. What they make is taken only if it is
neither a record that is there already nor a near-duplicate of one that the model is measured on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from feilun.core.artifacts import SPLITS
from feilun.core.run import Run
from feilun.core.similarity.shards import cluster_shards, remove_shards, sign_shard
from feilun.core.text import hashes
from feilun.stages.prepare.given import frozen_rows
from feilun.stages.prepare.shard import Place, gather, write_arrow
from feilun.stages.prepare.step import CorpusStep, Step
from feilun.stages.prepare.twins import twin_texts
from feilun.tasks import Task


class Added(NamedTuple):
    """The added records (columns of a split) in a file per bucket; their labels; what the steps
    counted."""

    paths: dict[int, Path]
    labels: Counter[str]
    found: Counter[str]


class Sources(NamedTuple):
    """Where the records of every side are: the shards laid out in a pass, the buckets of each
    side, the files of the frozen test."""

    place: Place
    num_shards: int
    bits: dict[str, int]
    frozen: Sequence[Path]

    def buckets(self, side: str) -> range:
        """The buckets of a side."""
        return range(1 << self.bits[side])

    def gather(self, side: str, bucket: int) -> pl.DataFrame:
        """The records of one bucket."""
        return gather(side, bucket, self.num_shards, self.place)


def grown(steps: Sequence[Step], frame: pl.DataFrame, run: Run, task: Task) -> pl.DataFrame:
    """The labelled records that the steps add to `frame` (columns of `SCHEMA` and `key`)."""
    more = frame.drop("key")
    for step in steps:
        if not isinstance(step, CorpusStep):
            more = step.apply(more, run)
    added = more.filter(~pl.col("id").is_in(frame["id"].implode()) & task.labelled())
    return added.with_columns(pl.Series("key", hashes(twin_texts(added)), dtype=pl.UInt64))


def checked(
    folder: Path, made: dict[int, Path], sources: Sources, threshold: float | None, task: Task
) -> Added:
    """Of the records that were made (a file per bucket) those that may be trained on."""
    fresh, found = _unheard_of(made, sources)
    found.update(_counts(made))
    if threshold:
        leaking = _leaking(folder / "leaks", fresh, sources, threshold)
        found["augment.leaking"] = sum(int(leak.sum()) for leak in leaking.values())
        fresh = {bucket: rows.filter(~pl.Series(leaking[bucket])) for bucket, rows in fresh.items()}
    paths, labels = {}, Counter[str]()
    for bucket, rows in fresh.items():
        paths[bucket] = folder / f"added-{bucket:05}.arrow"
        write_arrow(rows.sort("key", "id"), paths[bucket])
        labels.update(task.labels(rows))
    found["augment.added"] = sum(rows.height for rows in fresh.values())
    return Added(paths, labels, found)


def _counts(made: dict[int, Path]) -> Counter[str]:
    counts = Counter[str]()
    for path in made.values():
        counts.update(json.loads(path.with_suffix(".json").read_bytes()))
    return counts


def _unheard_of(
    made: dict[int, Path], sources: Sources
) -> tuple[dict[int, pl.DataFrame], Counter[str]]:
    """The records whose text stands nowhere yet, in no split and not twice among them."""
    heard = [frozen_rows(path)["key"] for path in sources.frozen]
    for side in SPLITS:
        for bucket in sources.buckets(side):
            heard.append(sources.gather(side, bucket)["key"])
    seen = np.unique(pl.concat(heard).to_numpy())
    fresh, twins = {}, 0
    for bucket, path in sorted(made.items()):
        rows = pl.read_ipc(path)
        keys = rows["key"].to_numpy()
        new = ~np.isin(keys, seen) & rows["key"].is_first_distinct().to_numpy()
        seen = np.union1d(seen, keys[new])
        fresh[bucket] = rows.filter(pl.Series(new))
        twins += int((~new).sum())
    return fresh, Counter({"augment.twins": twins})


def _leaking(
    folder: Path, fresh: dict[int, pl.DataFrame], sources: Sources, threshold: float
) -> dict[int, Any]:
    """For each record whether it is nearly one that the model is measured on."""
    parts = [frozen_rows(path) for path in sources.frozen]
    for side in ("validation", "test"):
        parts += [sources.gather(side, bucket) for bucket in sources.buckets(side)]
    num_measured = sum(map(len, parts))
    parts += list(fresh.values())
    for number, rows in enumerate(parts):
        sign_shard(twin_texts(rows), folder, number, threshold)
    # A cluster has the number of its first record, and those that are measured on come first.
    near = cluster_shards(folder, len(parts), threshold)[num_measured:] < num_measured
    remove_shards(folder)
    ends = np.cumsum([0, *(rows.height for rows in fresh.values())])
    return {bucket: near[ends[at] : ends[at + 1]] for at, bucket in enumerate(fresh)}
