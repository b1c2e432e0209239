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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from feilun.core.artifacts import StepCount
from feilun.core.i18n import _
from feilun.core.records import SCHEMA
from feilun.core.run import Run
from feilun.core.similarity.shards import cluster_shards, remove_shards, sign_shard
from feilun.stages.prepare.corpus import DROPS
from feilun.stages.prepare.files import Files, Prepared, counted
from feilun.stages.prepare.given import (
    fresh_folder,
    frozen_known,
    frozen_rows,
    grouped,
)
from feilun.stages.prepare.shard import (
    Pass,
    Place,
    ShardRun,
    write_arrow,
)
from feilun.stages.prepare.step import CorpusStep, Step
from feilun.stages.prepare.tasks import Tasks
from feilun.stages.prepare.twins import twin_texts
from feilun.stages.prepare.workers import Workers
from feilun.tasks import Classify, Task

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
        task: Task | None = None,
    ) -> None:
        self.task = task or Classify()
        self.prepare = prepare.fitted(self.task)
        self.run = run
        self.live = live
        self.groups = grouped(inputs, prepare.cores())
        self.folder = fresh_folder(run.folder, len(self.groups))
        self.tasks = Tasks(
            self.prepare, seed=run.seed, root=run.root, folder=self.folder, task=self.task
        )
        self.frozen_files = frozen
        self.frozen = frozen_known(frozen, self.task)
        self.funnel: list[StepCount] = []
        self.found: Counter[str] = Counter()
        self.sizes: dict[str, int] = {}
        self.offset = 1 if self.frozen.height else 0

    def go(self) -> Prepared:
        """Everything, in order."""
        for step in self.prepare.steps:
            step.begin(self.step_run(step))
        setup = {
            "prepare": self.prepare.for_workers(),
            "task": self.task.named(),
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
            return Files(self).written(sides, workers)

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
                self.task,
            )
            drops = self._decided(step, corpus)
            alive[drops["at"].to_numpy()] = False
            every = pl.concat([every, drops.with_columns(pl.lit(step.use).alias("step"))])
        _by_shard(every, sizes, lambda n, part: write_arrow(part, place.decided(n)))
        return known.filter(pl.Series(alive)) if every.height else known

    def _decided(self, step: CorpusStep, corpus: Corpus) -> pl.DataFrame:
        run = self.step_run(step)
        drops = step.decide(corpus, run)
        self.found.update(run.spent)
        drops = drops.select(pl.col(name).cast(kind) for name, kind in DROPS.items())
        self._told(step.use, corpus.known.height, drops)
        return drops

    def step_run(self, step: Step) -> ShardRun:
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
        found = split.assign(known, clusters, self.frozen, self.run.seed, self.task)
        if found.rare:
            self.found["split.rare_labels"] = found.rare
            self.run.say(
                _(
                    "split: {count:,} labels have a single record; it is learnt from, and never "
                    "measured."
                ).format(count=found.rare)
            )
        sides, drops = found.sides, [self._told("split", known.height, found.drops)]
        deciding = [step for step in self.tasks.after if isinstance(step, CorpusStep)]
        if deciding:
            trained_on = sides.filter(pl.col("side") == 0).select("at")
            train = known.join(trained_on, on="at", how="semi")
        for step in deciding:
            run = self.step_run(step)
            gone = step.decide(_of_train(train, self.task), run)
            self.found.update(run.spent)
            drops.append(self._told(step.use, train.height, gone))
            stays = ~pl.col("at").is_in(gone["at"].implode())
            train, sides = train.filter(stays), sides.filter(stays)
        every = pl.concat(drops)
        self._write_sides(place, sides, every)
        return sides

    def _told(self, step: str, before: int, drops: pl.DataFrame) -> pl.DataFrame:
        """`drops` with its step; their number is told in the funnel."""
        reasons, after = counted(drops["reason"]), before - drops.height
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


def _of_train(train: pl.DataFrame, task: Task) -> Corpus:
    from feilun.stages.prepare.corpus import Corpus

    def refuse(*_given: Any) -> Any:
        raise NotImplementedError("a step after the split decides by what is known")

    return Corpus(train, refuse, refuse, task)


def _concat(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(frames, rechunk=True)
