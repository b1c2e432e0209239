"""What a flow has decided, as stored files: each split in the order of its records' hashes."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from feilun.core.artifacts import SPLITS, StepCount
from feilun.core.records import DROPPED, MOST_BYTES, ShardWriter
from feilun.stages.prepare.after_split import Added, Sources, checked
from feilun.stages.prepare.given import frozen_labels
from feilun.stages.prepare.shard import Place, ShardRun, buckets_for
from feilun.stages.prepare.step import CorpusStep
from feilun.stages.prepare.workers import Workers

if TYPE_CHECKING:
    from feilun.stages.prepare.flow import Flow


class Prepared(NamedTuple):
    """The stored files of each split and of what was dropped, and all counts; `told` are the
    JSON files in which steps tell more (`suspects.json`), by name. `sizes`: the bytes of each
    stored file, by its sha256."""

    splits: dict[str, tuple[str, ...]]
    dropped: tuple[str, ...]
    counts: dict[str, int]
    balance: dict[str, dict[str, int]]
    reasons: dict[str, int]
    funnel: tuple[StepCount, ...]
    found: dict[str, float]
    told: dict[str, str]
    sizes: dict[str, int]


class Files:
    """Writes what the passes of a flow left in its scratch folder."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow

    def written(self, sides: pl.DataFrame, workers: Workers) -> Prepared:
        """What was stored; `sides` has `side` and `label` of every record that goes somewhere."""
        place = self.flow.tasks.place(len(self.flow.tasks.passes) - 1)
        counts = _side_counts(sides)
        labels = {}
        if self.flow.task.exclusive:
            labels = {name: counted(_labels_of(sides, name)) for name in SPLITS[:3]}
        del sides
        size = sum(
            path.stat().st_size for n in range(len(self.flow.groups)) for path in [place.rows(n)]
        )
        total = max(1, sum(counts.values()))
        bits = {
            name: buckets_for(count, size * count // total, 4 * MOST_BYTES)
            for name, count in counts.items()
        }
        shards = range(len(self.flow.groups))
        tasks = [{"act": "sides", "shard": n, "buckets": bits} for n in shards]
        self._work(workers, tasks, "sides")
        labels = labels or {name: self._labels(place, name) for name in SPLITS[:3]}
        sources = Sources(place, len(self.flow.groups), bits, self.flow.frozen_files)
        added = self._added(workers, sources)
        with ThreadPoolExecutor(1) as beside:
            gone = beside.submit(self._dropped)
            splits = self._merged(workers, sources, added)
            dropped, reasons = gone.result()
        counts["train"] += added.labels.total()
        labels["train"] = dict(sorted((Counter(labels["train"]) + added.labels).items()))
        if self.flow.frozen.height:
            splits["test"] = tuple(map(self._kept, self.flow.frozen_files))
            counts["test"] = self.flow.frozen.height
            labels["test"] = frozen_labels(self.flow.frozen_files, self.flow.task)
        told = {
            name: self.flow.run.keep(self.flow.step_run(step).folder / name)
            for step in self.flow.prepare.steps
            for name in step.tells
        }
        return Prepared(
            splits,
            dropped,
            counts,
            labels,
            reasons,
            tuple(self.flow.funnel),
            dict(self.flow.found),
            told,
            self.flow.sizes,
        )

    def _labels(self, place: Place, side: str) -> dict[str, int]:
        """How often each label occurs on a side, as the shards counted."""
        counts: Counter[str] = Counter()
        for shard in range(len(self.flow.groups)):
            done = json.loads(place.done("sides", shard).read_bytes())
            counts.update(done["labels"][side])
        return dict(sorted(counts.items()))

    def _work(self, workers: Workers, tasks: list[dict[str, Any]], what: str) -> None:
        for done, _answer in enumerate(workers.map(tasks)):
            self.flow.run.progress(done + 1, len(tasks), what)

    def _added(self, workers: Workers, sources: Sources) -> Added:
        """The records that the steps after the split add to train."""
        folder = self.flow.folder / "added"
        folder.mkdir(exist_ok=True)
        if all(isinstance(step, CorpusStep) for step in self.flow.tasks.after):
            return Added({}, Counter(), Counter())
        seen = ShardRun(
            seed=self.flow.run.seed, root=self.flow.run.root, folder=self.flow.folder / "steps"
        )
        for step in self.flow.tasks.after:
            step.survey(
                lambda: map(partial(sources.gather, "train"), sources.buckets("train")),
                seen,
                self.flow.live,
            )
        self.flow.found.update(seen.spent)
        made = {bucket: folder / f"made-{bucket:05}.arrow" for bucket in sources.buckets("train")}
        tasks = [self._task("augment", "train", n, path) for n, path in made.items()]
        self._work(workers, tasks, "augment")
        added = checked(
            folder, made, sources, self.flow.prepare.split.near_duplicates, self.flow.task
        )
        self.flow.found.update(added.found)
        return added

    def _task(self, act: str, side: str, bucket: int, to: Path, more: Any = "") -> dict[str, Any]:
        where = {"side": side, "bucket": bucket, "num_shards": len(self.flow.groups)}
        return {"act": act, "to": str(to), "more": str(more), **where}

    def _merged(
        self, workers: Workers, sources: Sources, added: Added
    ) -> dict[str, tuple[str, ...]]:
        """The stored files of each split."""
        folder = self.flow.folder / "merged"
        folder.mkdir(exist_ok=True)
        places = {
            side: [folder / f"{side}-{bucket:05}.parquet" for bucket in sources.buckets(side)]
            for side in SPLITS
            if not (side == "test" and self.flow.frozen.height)
        }
        tasks = [
            self._task("merge", side, n, path, added.paths.get(n, "") if side == "train" else "")
            for side, paths in places.items()
            for n, path in enumerate(paths)
        ]
        self._work(workers, tasks, "write")
        with ThreadPoolExecutor(2) as pool:  # one waits for the disk, one computes the digest
            kept = {side: list(pool.map(self._kept, paths)) for side, paths in places.items()}
        return {side: tuple(digests) for side, digests in kept.items()}

    def _kept(self, content: bytes | Path) -> str:
        digest = self.flow.run.keep(content)
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self.flow.sizes[digest] = size
        return digest

    def _dropped(self) -> tuple[tuple[str, ...], dict[str, int]]:
        """The stored files of all that was dropped, and how many for which reason."""
        writer, reasons = ShardWriter(self._kept), Counter[str]()
        for number in range(len(self.flow.tasks.passes)):
            place = self.flow.tasks.place(number)
            for shard in range(len(self.flow.groups)):
                for path in (place.dropped(shard), place.lost(shard)):
                    frame = pl.read_ipc(path)
                    reasons.update(counted(frame["reason"]))
                    writer.add(frame.select(pl.col(n).cast(t) for n, t in DROPPED.items()))
        return writer.close(pl.DataFrame(schema=DROPPED)), dict(sorted(reasons.items()))


def _side_counts(sides: pl.DataFrame) -> dict[str, int]:
    counts = dict(sides["side"].value_counts().rows())
    return {name: counts.get(number, 0) for number, name in enumerate(SPLITS)}


def _labels_of(sides: pl.DataFrame, name: str) -> pl.Series:
    return sides.filter(pl.col("side") == SPLITS.index(name))["label"]


def counted(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, by value."""
    counts = values.rename("value").value_counts().sort("value")
    return dict(counts.rows())
