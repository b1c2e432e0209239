"""The work on one shard: what a process does with records that memory holds.

A pass has two halves. Here, for each shard apart and in any process: the row steps in their
order, then what the corpus steps must know. Afterwards, over all shards: what they decide
(`feilun.stages.prepare.flow`). Every file is written beside its place and then moved there, the
one that says "done" last: a killed run goes on with the shard it was at.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import polars as pl

from feilun.core.artifacts import SPLITS, Model, StepCount
from feilun.core.records import DROPPED, MOST_ROWS, SCHEMA, as_dropped
from feilun.core.run import Run
from feilun.core.similarity.shards import sign_shard
from feilun.stages.prepare.corpus import described
from feilun.stages.prepare.step import CorpusStep, Step
from feilun.stages.prepare.twins import twin_texts
from feilun.tasks import Classify, Task


class Pass(NamedTuple):
    """Row steps, then corpus steps; `thresholds` are those at which near-duplicates are told."""

    number: int
    steps: tuple[Step, ...]
    decisions: tuple[CorpusStep, ...]
    thresholds: tuple[float, ...]


def passes(steps: Sequence[Step], split_threshold: float | None) -> list[Pass]:
    """The fewest passes that keep the order: the last one ends with the split."""
    grouped: list[tuple[list[Step], list[CorpusStep]]] = [([], [])]
    for step in steps:
        if isinstance(step, CorpusStep):
            grouped[-1][1].append(step)
            continue
        if grouped[-1][1]:
            grouped.append(([], []))
        grouped[-1][0].append(step)
    found = []
    for number, (rows, decisions) in enumerate(grouped):
        wanted = {threshold for step in decisions for threshold in step.thresholds()}
        if number == len(grouped) - 1 and split_threshold:
            wanted.add(split_threshold)
        found.append(Pass(number, tuple(rows), tuple(decisions), tuple(sorted(wanted))))
    return found


class ShardRun(Run):
    """The handle of a step that works on one shard: it counts and collects; the flow keeps."""

    def __init__(
        self,
        *,
        seed: int,
        root: Path,
        folder: Path,
        say: Callable[[str], None] = lambda _message: None,
        task: Task | None = None,
    ) -> None:
        self.task = task or Classify()
        self.seed = seed
        self.root = root
        self.folder = folder
        self._say = say
        self.frames: list[pl.DataFrame] = []
        self.spent: Counter[str] = Counter()
        folder.mkdir(parents=True, exist_ok=True)

    def within(self, name: str) -> Run:
        return ShardRun(
            seed=self.seed, root=self.root, folder=self.folder / name, say=self._say, task=self.task
        )

    def progress(self, done: float, total: float, what: str = "") -> None:
        """The flow tells it, shard by shard."""

    def say(self, message: str) -> None:
        self._say(message)

    def drop(self, frame: pl.DataFrame, step: str, reason: str) -> None:
        if frame.height:
            self.frames.append(as_dropped(frame, step, reason))

    def dropped(self) -> pl.DataFrame:
        return pl.concat([pl.DataFrame(schema=DROPPED), *self.frames])

    def spend(self, amount: float, what: str) -> None:
        self.spent[what] += amount  # type: ignore[assignment]  # Counter holds floats as well

    def log(self, metric: str, value: float, step: int = 0) -> None:
        self.spend(value, metric)

    def keep(self, content: bytes | Path) -> str:
        raise NotImplementedError("a step of one shard keeps nothing by itself")

    def file(self, digest: str) -> Path:
        raise NotImplementedError("a step of one shard reads no stored file")

    def unpack(self, model: Model) -> Path:
        raise NotImplementedError("a step of one shard unpacks no model")


class Place(NamedTuple):
    """Where the files of one pass are, and which."""

    folder: Path

    def rows(self, shard: int) -> Path:
        """The records after the row steps, with their twin keys."""
        return self.folder / f"rows-{shard:05}.arrow"

    def known(self, shard: int) -> Path:
        """What the decisions need to know of them."""
        return self.folder / f"known-{shard:05}.arrow"

    def dropped(self, shard: int) -> Path:
        """The records that the row steps dropped."""
        return self.folder / f"dropped-{shard:05}.arrow"

    def decided(self, shard: int) -> Path:
        """Which of the records the decisions dropped, and why."""
        return self.folder / f"decided-{shard:05}.arrow"

    def sides(self, shard: int) -> Path:
        """The side of each record that is left."""
        return self.folder / f"sides-{shard:05}.arrow"

    def lost(self, shard: int) -> Path:
        """The records that the decisions dropped."""
        return self.folder / f"lost-{shard:05}.arrow"

    def pieces(self, shard: int) -> Path:
        """The records by side and bucket, one after the other, and where each begins."""
        return self.folder / f"pieces-{shard:05}.bin"

    def done(self, act: str, shard: int) -> Path:
        """Counts; it is there when everything else of that act is."""
        return self.folder / f"{act}-{shard:05}.json"

    def similar(self, threshold: float) -> Path:
        """What clustering at that threshold needs."""
        return self.folder / f"similar-{threshold}"


def work_rows(
    done: Pass, shard: int, frame: pl.DataFrame, place: Place, run: ShardRun, offset: int = 0
) -> None:
    """Runs the row steps on a shard and writes what is known of the records that stay."""
    counts = []
    for step in done.steps:
        before, texts, dropped = frame.height, frame["text"], len(run.frames)
        began = time.perf_counter()
        after = step.apply(frame, run)
        reasons = Counter[str]()
        for lost in run.frames[dropped:]:
            reasons[lost["reason"][0]] += lost.height
        changed = _changed(frame["id"], texts, after)
        counts.append(
            StepCount(
                step=step.use, before=before, after=after.height, changed=changed,
                dropped=dict(reasons),
            ).model_dump()
            | {"seconds": time.perf_counter() - began}
        )  # fmt: skip
        frame = after
    keys = twin_texts(frame)
    known = described(frame, keys, run.task).with_columns(frame["group"], frame["time"])
    for step in done.decisions:
        known = known.hstack(step.know(frame))
    for threshold in done.thresholds:
        sign_shard(keys, place.similar(threshold), shard + offset, threshold)
    write_arrow(frame.with_columns(known["key"]), place.rows(shard))
    write_arrow(known, place.known(shard))
    write_arrow(run.dropped(), place.dropped(shard))
    finish(place.done("work", shard), {"num": frame.height, "steps": counts, "found": run.spent})


def _changed(ids: pl.Series, texts: pl.Series, after: pl.DataFrame) -> int:
    """How many of the records that stay have another text now."""
    if after.height == len(ids):
        return int((after["text"].ne_missing(texts)).sum())
    old = pl.DataFrame({"id": ids, "_text": texts}).unique("id", maintain_order=True)
    both = after.select("id", "text").join(old, on="id", how="left", maintain_order="left")
    return int(both.select(pl.col("text").ne_missing(pl.col("_text")).sum()).item())


def work_sides(shard: int, place: Place, buckets: dict[str, int], task: Task) -> None:
    """Lays the records of a shard out by side and bucket (see `Flow.write`); counts the labels
    of each side, where what is known of the records does not tell them."""
    frame = pl.read_ipc(place.rows(shard))
    gone = pl.read_ipc(place.decided(shard))
    lost = frame.with_row_index("row_").join(gone, left_on="row_", right_on="row", how="inner")
    write_arrow(lost.select(*SCHEMA.names(), "step", "reason", "detail"), place.lost(shard))
    frame = frame.with_columns(pl.read_ipc(place.sides(shard))["side"])
    where: dict[str, tuple[int, int]] = {}
    labels: dict[str, dict[str, int]] = {}
    target = place.pieces(shard)
    with target.with_suffix(".part").open("wb") as out:
        for number, side in enumerate(SPLITS):
            part = frame.filter(pl.col("side") == number).drop("side")
            if not task.exclusive:
                labels[side] = dict(task.labels(part))
            bits = buckets[side]
            bucket = pl.col("key") // (1 << (64 - bits)) if bits else pl.lit(0, pl.UInt64)
            for (at,), rows in part.group_by(bucket.alias("bucket"), maintain_order=True):
                where[f"{side}.{at}"] = _append(rows, out)
    target.with_suffix(".part").replace(target)
    finish(place.done("sides", shard), {"where": where, "lost": lost.height, "labels": labels})


def _append(rows: pl.DataFrame, out: BinaryIO) -> tuple[int, int]:
    """Writes the rows behind what `out` has; where they begin and end."""
    part = Path(f"{out.name}.piece")
    # To a path: polars holds the interpreter's lock as long as it writes to an open file. Not
    # compressed: it is read once, soon, and is as large as the records in memory.
    rows.write_ipc(part, compression="uncompressed", compat_level=pl.CompatLevel.newest())
    begin = out.tell()
    with part.open("rb") as piece:
        shutil.copyfileobj(piece, out, 1 << 20)
    part.unlink()
    return begin, out.tell()


def gather(side: str, bucket: int, num_shards: int, place: Place) -> pl.DataFrame:
    """The records of one bucket from every shard, in the order of their hashes."""
    found = []
    for shard in range(num_shards):
        where = json.loads(place.done("sides", shard).read_bytes())["where"].get(f"{side}.{bucket}")
        if where is not None:
            with place.pieces(shard).open("rb") as source:
                source.seek(where[0])
                found.append(pl.read_ipc(source.read(where[1] - where[0])))
    frame = pl.concat(found) if found else pl.DataFrame(schema={**SCHEMA, "key": pl.UInt64})
    return frame.sort("key", "id").select(*SCHEMA.names(), "key")


def buckets_for(num_rows: int, num_bytes: int, most_bytes: int) -> int:
    """Bits of the hash that part a side into buckets of a shard's size."""
    bits = 0
    while num_rows >> bits > MOST_ROWS or num_bytes >> bits > most_bytes:
        bits += 1
    return bits


def write_arrow(frame: pl.DataFrame, path: Path) -> None:
    """Writes a frame for our own use, whole or not at all."""
    _moved(
        path,
        lambda part: frame.write_ipc(part, compression="lz4", compat_level=pl.CompatLevel.newest()),
    )


def finish(path: Path, content: dict[str, Any]) -> None:
    """Says that a piece of work is done, with its counts."""
    _moved(path, lambda part: part.write_text(json.dumps(content)))


def _moved(path: Path, write: Any) -> None:
    part = path.with_name(path.name + ".part")
    write(part)
    part.replace(path)
