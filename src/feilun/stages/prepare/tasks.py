"""The tasks that a worker of prepare can be given, each on one shard or one bucket."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from feilun.core.records import SCHEMA, read_shards
from feilun.stages.prepare.after_split import grown
from feilun.stages.prepare.fit import fitted_steps
from feilun.stages.prepare.shard import (
    Place,
    ShardRun,
    finish,
    gather,
    passes,
    work_rows,
    work_sides,
    write_arrow,
)
from feilun.tasks import Classify, Task

if TYPE_CHECKING:
    from feilun.stages.prepare.stage import Prepare

Job = dict[str, Any]


class Tasks:
    """What is done to the shards of one run of `prepare`, below its scratch folder."""

    def __init__(
        self, prepare: Prepare, *, seed: int, root: Path, folder: Path, task: Task | None = None
    ) -> None:
        self.prepare = prepare
        self.task = task or Classify()
        self.seed = seed
        self.root = root
        self.folder = folder
        before, self.after = prepare.phases()
        self.passes = passes(fitted_steps(self.task, before), prepare.split.near_duplicates)
        self._reading = threading.Lock()
        self._whole: tuple[list[str], pl.DataFrame] = ([], pl.DataFrame())
        self._acts: dict[str, Callable[[Job], None]] = {
            "rows": self._rows,
            "sides": self._sides,
            "merge": self._merge,
            "augment": self._augment,
        }

    def do(self, task: Job) -> Job:
        """Does one task; it leaves its result in the scratch folder."""
        self._acts[task["act"]](task)
        return {}

    def place(self, number: int) -> Place:
        """The folder of a pass."""
        folder = self.folder / f"pass-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        return Place(folder)

    def _run(self, name: str) -> ShardRun:
        folder = self.folder / "steps" / name
        return ShardRun(seed=self.seed, root=self.root, folder=folder, task=self.task)

    def _rows(self, task: Job) -> None:
        number, shard = task["pass"], task["shard"]
        place = self.place(number)
        if place.done("work", shard).exists():
            return
        if number:
            frame = survivors(self.place(number - 1), shard)
        else:
            frame = self._read(task["inputs"], *task["part"])
        run = self._run(f"{number}-{shard:05}")
        work_rows(self.passes[number], shard, frame, place, run, task["offset"])

    def _read(self, inputs: list[str], part: int, parts: int) -> pl.DataFrame:
        """One of the parts of the files, which are read once for all of them."""
        with self._reading:
            if parts == 1 or self._whole[0] != inputs:
                self._whole = (inputs, read_shards(map(Path, inputs)))
            frame = self._whole[1]
            if part == parts - 1:
                self._whole = ([], frame.clear())
        size = -(-frame.height // parts)
        return frame.slice(part * size, size)

    def _sides(self, task: Job) -> None:
        place = self.place(len(self.passes) - 1)
        if not place.done("sides", task["shard"]).exists():
            work_sides(task["shard"], place, task["buckets"], self.task)

    def _bucket(self, task: Job) -> pl.DataFrame:
        place = self.place(len(self.passes) - 1)
        return gather(task["side"], task["bucket"], task["num_shards"], place)

    def _merge(self, task: Job) -> None:
        path = Path(task["to"])
        if path.exists():
            return
        frame = self._bucket(task)
        if task["more"]:
            frame = pl.concat([frame, pl.read_ipc(task["more"]).select(frame.columns)])
        part = path.with_suffix(".part")
        frame.write_parquet(part, compression="zstd", statistics=False)
        part.replace(path)

    def _augment(self, task: Job) -> None:
        path = Path(task["to"])
        if not path.with_suffix(".json").exists():
            run = self._run(f"after-{task['bucket']:05}")
            write_arrow(grown(self.after, self._bucket(task), run, self.task), path)
            finish(path.with_suffix(".json"), dict(run.spent))


def survivors(place: Place, shard: int) -> pl.DataFrame:
    """The records of a shard that the decisions of its pass left; what they dropped is written
    to `place.lost`."""
    frame = pl.read_ipc(place.rows(shard)).select(SCHEMA.names())
    gone = pl.read_ipc(place.decided(shard))
    lost = frame.with_row_index("row_").join(gone, left_on="row_", right_on="row", how="inner")
    write_arrow(lost.select(*SCHEMA.names(), "step", "reason", "detail"), place.lost(shard))
    alive = ~pl.int_range(pl.len(), dtype=pl.UInt32).is_in(gone["row"].implode())
    return frame.filter(alive)
