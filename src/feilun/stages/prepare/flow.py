"""All shards through all passes: what `prepare` does, in memory that does not grow with the texts.

1. For each shard, by any worker: the row steps (`shard.work_rows`).
2. Here, over a few numbers of each record: what the corpus steps decide, then the split.
3. For each shard: its records by side and bucket (`shard.work_sides`).
4. For each bucket of a side: the records of all shards, in the order of their hashes, in a file.

The order of a split is that of its records' hashes: what is learnt must not depend on who came
first. Everything in between is in the run's scratch folder, so that a killed run goes on.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from feilun.core.artifacts import SPLITS, StepCount
from feilun.core.records import DROPPED, MOST_BYTES, SCHEMA, ShardWriter
from feilun.core.run import Run
from feilun.core.similarity.shards import cluster_shards, remove_shards, sign_shard
from feilun.stages.prepare.after_split import Added, Sources, checked
from feilun.stages.prepare.given import fresh_folder, frozen_known, frozen_rows, grouped
from feilun.stages.prepare.shard import (
    Pass,
    Place,
    ShardRun,
    buckets_for,
    write_arrow,
)
from feilun.stages.prepare.step import DROPS, CorpusStep, Step
from feilun.stages.prepare.tasks import Tasks
from feilun.stages.prepare.twins import twin_texts
from feilun.stages.prepare.workers import Workers

if TYPE_CHECKING:
    from feilun.stages.prepare.corpus import Corpus
    from feilun.stages.prepare.stage import Prepare

MOST_WITH_WORKERS = 16
"""Shards: with more, the memory of resting workers is worth more than the time to start them
again (0.6 s of a core each) when the decisions are made."""
MOST_WITH_THREADS = 8
"""Shards that threads work on; more are for processes. Of 63 MB threads make 2.7 s on two cores,
processes 3.5 s, one core 4.2 s."""
_NOWHERE = 255


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


class Flow:
    """One run of `prepare`."""

    def __init__(
        self,
        prepare: Prepare,
        inputs: Sequence[Path],
        run: Run,
        *,
        frozen: Sequence[Path] = (),
        live: Path | None = None,
    ) -> None:
        self.prepare = prepare
        self.run = run
        self.live = live
        self.folder = fresh_folder(run.folder)
        self.tasks = Tasks(prepare, seed=run.seed, root=run.root, folder=self.folder)
        self.groups = grouped(inputs)
        self.frozen_files = frozen
        self.frozen = frozen_known(frozen)
        self.funnel: list[StepCount] = []
        self.found: Counter[str] = Counter()
        self.sizes: dict[str, int] = {}
        self.offset = 1 if self.frozen.height else 0

    def go(self) -> Prepared:
        """Everything, in order."""
        for step in self.prepare.steps:
            step.begin(self._step_run(step))
        setup = {
            "prepare": self.prepare.for_workers(),
            "seed": self.run.seed,
            "root": str(self.run.root),
            "folder": str(self.folder),
        }
        cores = self.prepare.num_workers(len(self.groups))
        # A process takes a second to start; threads share the interpreter, but start at once.
        processes = cores if len(self.groups) > MOST_WITH_THREADS else 1
        with Workers(setup, processes, threads=cores) as workers:
            for number in range(len(self.tasks.passes)):
                known = self._pass(number, workers)
            sides = self._split(known)
            del known
            return self._written(sides, workers)

    # One pass

    def _pass(self, number: int, workers: Workers) -> pl.DataFrame:
        """What is known of the records that are left after the pass."""
        this, place = self.tasks.passes[number], self.tasks.place(number)
        if self.offset:
            keys = twin_texts(pl.concat(map(frozen_rows, self.frozen_files)))
            for threshold in this.thresholds:
                sign_shard(keys, place.similar(threshold), 0, threshold)
        tasks = [
            {
                "act": "rows",
                "pass": number,
                "shard": shard,
                "inputs": [str(path) for path in group.paths],
                "part": [group.part, group.parts],
                "offset": self.offset,
            }
            for shard, group in enumerate(self.groups)
        ]
        what = ", ".join(step.use for step in this.steps)
        for done, _answer in enumerate(workers.map(tasks)):
            self.run.progress(done + 1, len(tasks), what)
        if len(self.groups) > MOST_WITH_WORKERS:
            workers.rest()
        sizes = self._count(place)
        known = _concat([pl.read_ipc(place.known(n)) for n in range(len(sizes))])
        known = known.with_row_index("at")
        known = self._decide(this, place, known, sizes)
        if number + 1 < len(self.tasks.passes):
            for threshold in this.thresholds:
                remove_shards(place.similar(threshold))
        return known

    def _count(self, place: Place) -> list[int]:
        """Adds up what the row steps did; the number of records of each shard that are left."""
        sizes, total = [], dict[int, dict[str, Any]]()
        for shard in range(len(self.groups)):
            done = json.loads(place.done("work", shard).read_bytes())
            sizes.append(done["num"])
            self.found.update(done["found"])
            for at, count in enumerate(done["steps"]):
                into = total.setdefault(at, {"step": count["step"], "dropped": Counter()})
                for name in ("before", "after", "changed"):
                    into[name] = into.get(name, 0) + count[name]
                into["dropped"].update(count["dropped"])
        for count in total.values():
            count["dropped"] = dict(count["dropped"])
            self.funnel.append(StepCount.model_validate(count))
        return sizes

    def _decide(
        self, this: Pass, place: Place, known: pl.DataFrame, sizes: list[int]
    ) -> pl.DataFrame:
        """What is known of the records that the decisions leave; the others are written down."""
        from feilun.stages.prepare.corpus import Corpus

        every, alive = _empty_drops(), np.ones(known.height, dtype=bool)
        self._similar = partial(self._clusters, place, {})
        for done, step in enumerate(this.decisions):
            self.run.progress(done, len(this.decisions), step.use)
            left = known.filter(pl.Series(alive)) if every.height else known
            corpus = Corpus(
                left,
                partial(self._frames, place, sizes, alive),
                lambda threshold, left=left: self._similar(threshold, left["at"]),  # type: ignore[misc]
            )
            drops = self._decided(step, corpus)
            alive[drops["at"].to_numpy()] = False
            every = pl.concat([every, drops.with_columns(pl.lit(step.use).alias("step"))])
        _by_shard(every, sizes, lambda n, part: write_arrow(part, place.decided(n)))
        return known.filter(pl.Series(alive)) if every.height else known

    def _decided(self, step: CorpusStep, corpus: Corpus) -> pl.DataFrame:
        run = self._step_run(step)
        drops = step.decide(corpus, run)
        self.found.update(run.spent)
        drops = drops.select(pl.col(name).cast(kind) for name, kind in DROPS.items())
        self._told(step.use, corpus.known.height, drops)
        return drops

    def _step_run(self, step: Step) -> ShardRun:
        folder = self.folder / "steps" / step.use
        return ShardRun(seed=self.run.seed, root=self.run.root, folder=folder, say=self.run.say)

    def _clusters(
        self, place: Place, cache: dict[float, np.ndarray], threshold: float, at: pl.Series
    ) -> pl.Series:
        """The near-duplicate clusters of the rows `at`, counted from the first frozen record."""
        if threshold not in cache:
            folder = place.similar(threshold)
            found = cluster_shards(folder, len(self.groups) + self.offset, threshold)
            cache[threshold] = found[self.frozen.height :]
        return pl.Series("cluster", cache[threshold][at.to_numpy()], dtype=pl.UInt32)

    def _frames(self, place: Place, sizes: list[int], alive: np.ndarray) -> Iterator[pl.DataFrame]:
        first = 0
        for shard, size in enumerate(sizes):
            frame = pl.read_ipc(place.rows(shard))
            frame = frame.select(SCHEMA.names()).with_row_index("at", offset=first)
            yield frame.filter(pl.Series(alive[first : first + size]))
            first += size

    # The split

    def _split(self, known: pl.DataFrame) -> pl.DataFrame:
        """`at`, `side` and `label` of every record that goes somewhere; the rest is written
        down as dropped."""
        place, split = self.tasks.place(len(self.tasks.passes) - 1), self.prepare.split
        clusters = (
            self._similar(split.near_duplicates, known["at"]) if split.near_duplicates else None
        )
        found = split.assign(known, clusters, self.frozen, self.run.seed)
        sides = found.sides.join(known.select("at", "label"), on="at", maintain_order="left")
        drops = [self._told("split", known.height, found.drops)]
        train = known.join(
            found.sides.filter(pl.col("side") == 0).select("at"), on="at", how="semi"
        )
        for step in self.tasks.after:
            if isinstance(step, CorpusStep):
                run = self._step_run(step)
                gone = step.decide(_of_train(train), run)
                self.found.update(run.spent)
                drops.append(self._told(step.use, train.height, gone))
                stays = ~pl.col("at").is_in(gone["at"].implode())
                train, sides = train.filter(stays), sides.filter(stays)
        every = pl.concat(drops)
        self._write_sides(place, sides, every)
        return sides

    def _told(self, step: str, before: int, drops: pl.DataFrame) -> pl.DataFrame:
        """`drops` with its step; their number is told in the funnel."""
        reasons, after = _counted(drops["reason"]), before - drops.height
        self.funnel.append(StepCount(step=step, before=before, after=after, dropped=reasons))
        return drops.select("at", "reason", pl.lit(step).alias("step"))

    def _write_sides(self, place: Place, sides: pl.DataFrame, drops: pl.DataFrame) -> None:
        sizes = [self._size(place, shard) for shard in range(len(self.groups))]
        side = np.full(sum(sizes), _NOWHERE, dtype=np.uint8)
        side[sides["at"].to_numpy()] = sides["side"].to_numpy()
        drops = drops.with_columns(pl.lit(None, dtype=pl.String).alias("detail"))

        def write(shard: int, part: pl.DataFrame) -> None:
            path, first = place.decided(shard), sum(sizes[:shard])
            # `_decide` wrote it anew in this run, so nothing of the split is in it yet.
            before = pl.read_ipc(path)
            write_arrow(pl.concat([before, part.select(before.columns)]), path)
            here = side[first : first + sizes[shard]]
            write_arrow(pl.DataFrame({"side": here}), place.sides(shard))

        _by_shard(drops, sizes, write)

    def _size(self, place: Place, shard: int) -> int:
        return int(json.loads(place.done("work", shard).read_bytes())["num"])

    # The files

    def _written(self, sides: pl.DataFrame, workers: Workers) -> Prepared:
        place = self.tasks.place(len(self.tasks.passes) - 1)
        counts = _side_counts(sides)
        labels = {name: _counted(_labels_of(sides, name)) for name in SPLITS[:3]}
        del sides
        size = sum(path.stat().st_size for n in range(len(self.groups)) for path in [place.rows(n)])
        total = max(1, sum(counts.values()))
        bits = {
            name: buckets_for(count, size * count // total, 4 * MOST_BYTES)
            for name, count in counts.items()
        }
        shards = range(len(self.groups))
        tasks = [{"act": "sides", "shard": n, "buckets": bits} for n in shards]
        self._work(workers, tasks, "sides")
        sources = Sources(place, len(self.groups), bits, self.frozen_files)
        added = self._added(workers, sources)
        with ThreadPoolExecutor(1) as beside:
            gone = beside.submit(self._dropped)
            splits = self._merged(workers, sources, added)
            dropped, reasons = gone.result()
        counts["train"] += added.labels.total()
        labels["train"] = dict(sorted((Counter(labels["train"]) + added.labels).items()))
        if self.frozen.height:
            splits["test"] = tuple(map(self._kept, self.frozen_files))
            counts["test"] = self.frozen.height
            labels["test"] = _counted(self.frozen["label"])
        told = {
            name: self.run.keep(self._step_run(step).folder / name)
            for step in self.prepare.steps
            for name in step.tells
        }
        return Prepared(
            splits,
            dropped,
            counts,
            labels,
            reasons,
            tuple(self.funnel),
            dict(self.found),
            told,
            self.sizes,
        )

    def _work(self, workers: Workers, tasks: list[dict[str, Any]], what: str) -> None:
        for done, _answer in enumerate(workers.map(tasks)):
            self.run.progress(done + 1, len(tasks), what)

    def _added(self, workers: Workers, sources: Sources) -> Added:
        """The records that the steps after the split add to train."""
        folder = self.folder / "added"
        folder.mkdir(exist_ok=True)
        if all(isinstance(step, CorpusStep) for step in self.tasks.after):
            return Added({}, Counter(), Counter())
        seen = ShardRun(seed=self.run.seed, root=self.run.root, folder=self.folder / "steps")
        for step in self.tasks.after:
            step.survey(
                lambda: map(partial(sources.gather, "train"), sources.buckets("train")),
                seen,
                self.live,
            )
        self.found.update(seen.spent)
        made = {bucket: folder / f"made-{bucket:05}.arrow" for bucket in sources.buckets("train")}
        tasks = [self._task("augment", "train", n, path) for n, path in made.items()]
        self._work(workers, tasks, "augment")
        added = checked(folder, made, sources, self.prepare.split.near_duplicates)
        self.found.update(added.found)
        return added

    def _task(self, act: str, side: str, bucket: int, to: Path, more: Any = "") -> dict[str, Any]:
        where = {"side": side, "bucket": bucket, "num_shards": len(self.groups)}
        return {"act": act, "to": str(to), "more": str(more), **where}

    def _merged(
        self, workers: Workers, sources: Sources, added: Added
    ) -> dict[str, tuple[str, ...]]:
        """The stored files of each split."""
        folder = self.folder / "merged"
        folder.mkdir(exist_ok=True)
        places = {
            side: [folder / f"{side}-{bucket:05}.parquet" for bucket in sources.buckets(side)]
            for side in SPLITS
            if not (side == "test" and self.frozen.height)
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
        digest = self.run.keep(content)
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        self.sizes[digest] = size
        return digest

    def _dropped(self) -> tuple[tuple[str, ...], dict[str, int]]:
        """The stored files of all that was dropped, and how many for which reason."""
        writer, reasons = ShardWriter(self._kept), Counter[str]()
        for number in range(len(self.tasks.passes)):
            place = self.tasks.place(number)
            for shard in range(len(self.groups)):
                for path in (place.dropped(shard), place.lost(shard)):
                    frame = pl.read_ipc(path)
                    reasons.update(_counted(frame["reason"]))
                    writer.add(frame.select(pl.col(n).cast(t) for n, t in DROPPED.items()))
        return writer.close(pl.DataFrame(schema=DROPPED)), dict(sorted(reasons.items()))


def _empty_drops() -> pl.DataFrame:
    return pl.DataFrame(schema={**DROPS, "step": pl.String})


def _by_shard(
    drops: pl.DataFrame, sizes: list[int], write: Callable[[int, pl.DataFrame], None]
) -> None:
    """Calls `write` for each shard with its part of `drops`: `row` in it instead of `at`."""
    drops = drops.sort("at")
    first = 0
    for shard, size in enumerate(sizes):
        here = (pl.col("at") >= first) & (pl.col("at") < first + size)
        part = drops.filter(here).with_columns((pl.col("at") - first).alias("row"))
        write(shard, part.select(pl.col("row").cast(pl.UInt32), "step", "reason", "detail"))
        first += size


def _of_train(train: pl.DataFrame) -> Corpus:
    from feilun.stages.prepare.corpus import Corpus

    def refuse(*_given: Any) -> Any:
        raise NotImplementedError("a step after the split decides by what is known")

    return Corpus(train, refuse, refuse)


def _side_counts(sides: pl.DataFrame) -> dict[str, int]:
    counts = dict(sides["side"].value_counts().rows())
    return {name: counts.get(number, 0) for number, name in enumerate(SPLITS)}


def _labels_of(sides: pl.DataFrame, name: str) -> pl.Series:
    return sides.filter(pl.col("side") == SPLITS.index(name))["label"]


def _concat(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, rechunk=True)


def _counted(values: pl.Series) -> dict[str, int]:
    counts = values.rename("value").value_counts().sort("value")
    return dict(counts.rows())
