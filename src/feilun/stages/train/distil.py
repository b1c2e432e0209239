"""`[train.distil]`: a teacher answers the unlabelled records, and what it answers is learnt from.

Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny

from feilun.core.artifacts import Model
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models import Lesson
from feilun.stages.train.teachers import Answers, Opinion, Teacher
from feilun.store.disk import write_file
from feilun.tasks import BadAnswer, Task

if TYPE_CHECKING:
    import polars as pl


class Distil(BaseModel):
    """Who teaches, and how much of what it says is learnt from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    teacher: SerializeAsAny[Teacher] = Field(description="who answers the unlabelled records")
    most: int = Field(
        10_000, ge=1, description="unlabelled records used at most; which ones stays the same"
    )
    least_confidence: float = Field(
        0.0, ge=0, le=1, description="a record that the teacher is less sure of is left out"
    )
    soft: bool = Field(
        True, description="learn its probabilities where a record has one label, not its answer"
    )
    temperature: float = Field(
        1.0, gt=0, le=20, description="of these: above 1 more even, below 1 more decided"
    )

    def taught(self, lesson: Lesson, model: Model | None, run: Run) -> Lesson:
        """The lesson with what the teacher says of its unlabelled records, after its own in
        `train`; `soft` has its probabilities. `model` is what the teacher refers to. Nothing of
        it reaches the validation split, and a twin of one of its records is not asked about.
        Answers are kept in `run.folder`: a killed run asks nobody twice. Raises what the teacher
        raises: `TeacherDiffers`, `NoTeacher`."""
        import polars as pl

        drawn = _draw(lesson, self.most)
        if not len(drawn.lots):
            run.say(_("distillation: there are no unlabelled records to ask the teacher about"))
            return lesson
        ask = self.teacher.ready(lesson, model, run)
        counts: Counter[str] = Counter(beyond=drawn.beyond)
        frames: list[pl.DataFrame] = []
        rows: list[np.ndarray] = []
        done = 0
        for frame, opinions in self._asked(lesson, drawn.lots, ask, run):
            done += frame.height
            run.progress(done, len(drawn.lots), _("asking the teacher"))
            kept = [at for at, one in enumerate(opinions) if self._kept(one, counts)]
            answered, kept = _answered(lesson.task, frame, opinions, kept, counts)
            frames.append(answered)
            rows.append(self._soft([opinions[at] for at in kept], lesson))
        self._tell(counts, run)
        new = pl.concat(frames) if frames else lesson.train.clear()
        soft = np.concatenate([_silent(lesson.train.height, lesson), *rows])
        return lesson._replace(
            train=pl.concat([lesson.train, new.select(lesson.train.columns)]),
            soft=None if np.isnan(soft).all() else soft,
        )

    def _asked(
        self, lesson: Lesson, lots: np.ndarray, ask: Answers, run: Run
    ) -> Iterator[tuple[pl.DataFrame, list[Opinion]]]:
        """The drawn records, some at a time, with what the teacher says of them."""
        import polars as pl

        from feilun.core.records import parquet

        left = lots
        for number, path in enumerate(lesson.unlabelled):
            if not len(left):
                break
            shard = _texts(path).collect().unique("key", keep="first", maintain_order=True)
            found = _lot(shard["key"].to_numpy())
            shard = shard.filter(pl.Series(np.isin(found, left)))
            left = np.setdiff1d(left, found)
            for start in range(0, shard.height, self.teacher.batch):
                frame = shard.slice(start, self.teacher.batch)
                place = run.folder / f"answers-{number:05}-{start:07}.parquet"
                if not place.exists():
                    write_file(place, parquet(_frame(ask(frame))))
                yield frame, _opinions(pl.read_parquet(place))

    def _kept(self, one: Opinion, counts: Counter[str]) -> bool:
        counts["tokens"] += one.tokens
        if one.written is None:
            counts["silent"] += 1
            return False
        # Figures that only rounding parts from the limit have reached it.
        if one.confidence < self.least_confidence - 1e-6:
            counts["unsure"] += 1
            return False
        return True

    def _soft(self, opinions: Sequence[Opinion], lesson: Lesson) -> np.ndarray:
        """The teacher's probabilities at the temperature, float32 `[opinions, labels]`; NaN
        where its answer is all there is to learn."""
        made = _silent(len(opinions), lesson)
        if not (self.soft and lesson.task.exclusive):
            return made
        for at, one in enumerate(opinions):
            if one.probabilities is not None:
                # Against the largest: with a low temperature the powers alone would all be 0.
                row = np.asarray(one.probabilities, np.float64)
                raised = (row / row.max()) ** (1 / self.temperature)
                made[at] = raised / raised.sum()
        return made

    def _tell(self, counts: Counter[str], run: Run) -> None:
        for what, amount in self.teacher.costs(counts["tokens"]).items():
            if amount:
                run.spend(amount, what)
        run.spend(counts["used"], "distilled")
        left_out = counts["silent"] + counts["unsure"] + counts["beyond"]
        if left_out:
            run.spend(left_out, "distilled.left_out")
        run.say(
            _(
                "distillation: {used} unlabelled records learnt from as the teacher answers them; "
                "left out: {silent} without an answer, {unsure} it is not sure of, {beyond} "
                "beyond [train.distil] most"
            ).format(**{name: counts[name] for name in ("used", "silent", "unsure", "beyond")})
        )


class _Drawn(NamedTuple):
    """The lots of the records to ask about, ascending, and how many there are beside them."""

    lots: np.ndarray
    beyond: int


def _draw(lesson: Lesson, most: int) -> _Drawn:
    """The `most` records with the smallest lots, one of each set of twins; what is in the
    lesson with its right answer is none of them. Needs memory for so many numbers, no more."""
    known = np.concatenate([f["key"].to_numpy() for f in (lesson.train, lesson.validation)])
    best = np.zeros(0, dtype=np.uint64)
    total = 0
    for path in lesson.unlabelled:
        keys = _texts(path).select("key").collect()["key"].to_numpy()
        # Twins have one key, and stand together in one file or on both sides of its end.
        lots = np.unique(_lot(np.setdiff1d(keys, known)))
        total += len(lots)
        best = np.union1d(best, lots)[:most]
    return _Drawn(best, max(total - len(best), 0))


def _texts(path: Path) -> pl.LazyFrame:
    import polars as pl

    return pl.scan_parquet(path).filter(pl.col("text").is_not_null())


def _lot(keys: np.ndarray) -> np.ndarray:
    """A number for each key (UInt64) that depends on it alone: the finaliser of SplitMix64
    (Steele, Lea and Flood, OOPSLA 2014), by which no two keys get the same. So it is the same
    records every time, and most of them still when others join."""
    mixed = keys.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    lots: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return lots


def _answered(
    task: Task,
    frame: pl.DataFrame,
    opinions: Sequence[Opinion],
    kept: Sequence[int],
    counts: Counter[str],
) -> tuple[pl.DataFrame, list[int]]:
    """The kept records as the teacher labels them, and which they are: an answer that is none
    of the task's counts as none."""
    import polars as pl

    from feilun.core.records import SCHEMA

    inputs = task.inputs(frame)
    made, good = [], []
    for at in kept:
        try:
            written = opinions[at].written or ""
            made.append(task.record(task.written_input(inputs[at]), written))
        except BadAnswer:
            counts["silent"] += 1
            continue
        good.append(at)
    counts["used"] += len(good)
    columns = [
        pl.Series(name, [row[name] for row in made], dtype=SCHEMA[name])
        for name in ("text", "label", "spans")
    ]
    return frame[good].with_columns(columns), good


def _silent(num_rows: int, lesson: Lesson) -> np.ndarray:
    return np.full((num_rows, len(lesson.labels)), np.nan, dtype=np.float32)


def _frame(opinions: Sequence[Opinion]) -> pl.DataFrame:
    import polars as pl

    schema = pl.Schema(
        {
            "written": pl.String(),
            "confidence": pl.Float64(),
            "probabilities": pl.List(pl.Float64()),
            "tokens": pl.Int64(),
        }
    )
    return pl.DataFrame(opinions, schema=schema, orient="row")


def _opinions(frame: pl.DataFrame) -> list[Opinion]:
    return [
        Opinion(written, confidence, row and tuple(row), tokens)
        for written, confidence, row, tokens in frame.iter_rows()
    ]
