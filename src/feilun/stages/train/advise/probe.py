"""Probes: a family trained on small nested parts of the training records, and measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import polars as pl

from feilun.core.artifacts import Interval
from feilun.core.records import FEEDBACK_SOURCE
from feilun.core.run import Run
from feilun.models import Estimate, Family, Lesson, load
from feilun.models.hub import Hub
from feilun.models.hub import epochs_for as finetuning_epochs
from feilun.models.neural.settings import Neural
from feilun.models.neural.sizes import epochs_for
from feilun.tasks.task import Input

FEWEST, MOST_SIZES, FEWEST_CHECKED, MOST_ASKED = 50, 6, 100, 4_000
"""Records that are learnt from, sizes that are tried, validation records that a training sees,
records that are asked about."""
SINGLES, SINGLES_SECONDS = 50, 0.5
BATCH = 512
FORWARD = 1 / 3
"""What reading a validation text takes, as a share of learning from one."""
LEARNING, ALL = 0.6, 0.9
"""Shares of the time: what the largest probe may take, what all may."""


class Probe(NamedTuple):
    """One training with `rows` records.

    `work` says how much there was to do (records × passes), `stopped` after how many passes a
    network stopped early (0: it did not); `answers` are those to the
    records that are asked about; `per_label[label]` has recall and F1, `counts` the records of
    each label that were learnt from.
    """

    rows: int
    work: float
    seconds: float
    quality: Interval
    answers: list[str | None]
    per_label: dict[str, tuple[float, float]]
    counts: dict[str, int]
    stopped: int = 0


class Served(NamedTuple):
    """What the largest probe's model is like in use: milliseconds for one text (the median),
    texts per second and processor seconds per text in a batch, megabytes on disk."""

    latency_ms: float
    texts_per_second: float
    cpu_seconds_per_text: float
    size_mb: float


class Probed(NamedTuple):
    """What a family's probes found. `family` has the choices made that it makes for all training
    records; `seconds` is its own estimate for those, and `work` what there would be to do in
    `passes` over them."""

    family: Family
    seconds: float
    work: float
    passes: int = 1
    probes: tuple[Probe, ...] = ()
    served: Served | None = None
    memory_mb: float | None = None


class Prober:
    """Trains one family on nested parts of a lesson, as far as the time goes.

    `passes` says how many passes the training of the last run made (0: it does not make any, or
    nobody listened); a network may stop early. `clock` gives seconds.
    """

    def __init__(
        self,
        family: Family,
        lesson: Lesson,
        metric: str,
        seed: int,
        *,
        passes: Callable[[], int] = lambda: 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.family, self.lesson, self.metric = family, lesson, metric
        self._passes, self._clock = passes, clock
        self._parts = parted(lesson, seed)
        self._rows = self._parts.num_labelled
        self._checks = lesson.validation.height

    def estimate(self, budget_seconds: float, run: Run) -> Probed:
        """What training on all records would take, by the family's own estimate."""
        found: Estimate = self.family.estimate(self.lesson, budget_seconds, run)
        passes = _planned(found.family, self._rows)
        return Probed(found.family, found.seconds, self._work(self._rows, passes), passes)

    def probe(self, known: Probed, until: float, run: Run, tell: Callable[[Probe], None]) -> Probed:
        """`known` with the probes that end before the clock shows `until`; `tell` hears of each
        at once."""
        start = self._clock()
        probes: list[Probe] = []
        slower = 1.0
        folder: Path | None = None
        for rows in self.sizes(known, until - start):
            family = self._at(known.family, rows)
            expected = known.seconds * self._work(rows, _planned(family, rows)) / known.work
            if self._clock() + slower * expected > until:
                break
            inner = run.within(f"{rows}-rows")
            found = self._one(family, self._parts.learnt.head(rows), inner)
            # What is loaded once (torch) does not make a short probe's work slow.
            slower = max(found.seconds / max(expected, 1e-3), 0.2) if expected > 1 else 1.0
            probes.append(found)
            folder = inner.folder / "model"
            tell(found)
        served = self._served(folder) if folder is not None else None
        return known._replace(probes=tuple(probes), served=served)

    def sizes(self, known: Probed, seconds: float) -> list[int]:
        """How many records to learn from, ascending: half of them, half of that, and so on;
        those of which all fit into `seconds`, the largest first."""
        ladder: list[int] = []
        rows = self._parts.learnt.height
        while len(ladder) < MOST_SIZES and (rows >= FEWEST or not ladder) and rows > 0:
            ladder.append(rows)
            rows //= 2
        chosen: list[int] = []
        spent = 0.0
        for rows in ladder:
            family = self._at(known.family, rows)
            expected = known.seconds * self._work(rows, _planned(family, rows)) / known.work
            limit = LEARNING * seconds if not chosen else ALL * seconds - spent
            if expected <= limit:
                chosen.append(rows)
                spent += expected
        return chosen[::-1]

    def _one(self, family: Family, train: pl.DataFrame, run: Run) -> Probe:
        lesson = self.lesson._replace(
            train=train, validation=self._checked(train.height), soft=None, trained=()
        )
        task = lesson.task
        folder = run.folder / "model"
        folder.mkdir(parents=True)
        begun = self._clock()
        family.fit(lesson, folder, run)
        seconds = self._clock() - begun
        planned = _planned(family, train.height)
        passes = self._passes() or planned
        asked = self._parts.asked
        answers = [a.written for a in task.answers(load(folder), task.inputs(asked))]
        truth = task.truth(asked)
        found = task.evaluate(truth, answers, lesson.labels, seed=run.seed)
        return Probe(
            rows=train.height,
            work=self._work(train.height, passes),
            seconds=seconds,
            quality=found.metrics[self.metric],
            answers=answers,
            per_label={
                label: (one["recall"].value, one["f1"].value)
                for label, one in found.per_label.items()
            },
            counts=dict(task.labels(train)),
            stopped=passes if passes < planned else 0,
        )

    def _checked(self, rows: int) -> pl.DataFrame:
        """The validation records that a training sees which learns from so many: their share,
        else a network would spend a short training on looking at them. All measure it."""
        return self.lesson.validation.head(self._num_checked(rows))

    def _num_checked(self, rows: int) -> int:
        share = math.ceil(self._checks * rows / max(self._rows, 1))
        return min(self._checks, max(share, FEWEST_CHECKED))

    def _work(self, rows: int, passes: int) -> float:
        if not isinstance(self.family, Neural):
            return float(max(rows, 1))
        return passes * (max(rows, 1) + FORWARD * self._num_checked(rows))

    def _at(self, whole: Family, rows: int) -> Family:
        """The settings for a part of the records: what the family chose for all (its size), but
        as many passes as a part deserves, cut as they were cut to fit the budget."""
        fields = type(whole).model_fields
        open_ = [name for name in fields if getattr(self.family, name) == "auto"]
        made = self.family.model_copy(update={name: getattr(whole, name) for name in open_})
        if not isinstance(made, Neural) or made.epochs is not None:
            return made
        share = _planned(whole, self._rows) / max(_planned(made, self._rows), 1)
        if share >= 1:
            return made
        return made.model_copy(update={"epochs": max(1, round(share * _planned(made, rows)))})

    def _served(self, folder: Path) -> Served:
        task, model = self.lesson.task, load(folder)
        inputs = list(task.inputs(self._parts.asked))
        singles = self._singles(model, inputs[:SINGLES])
        many = (inputs * (BATCH // max(len(inputs), 1) + 1))[:BATCH]
        task.answers(model, many[:8])
        # A slow model is not asked for long.
        few = max(8, min(BATCH, int(2.0 / max(singles, 1e-6))))
        begun, cpu = self._clock(), time.process_time()
        task.answers(model, many[:few])
        took, cpu = max(self._clock() - begun, 1e-9), time.process_time() - cpu
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return Served(singles * 1000, few / took, cpu / few, size / 1e6)

    def _singles(self, model: Any, inputs: list[Input]) -> float:
        """Seconds for one text: the median."""
        took: list[float] = []
        begun = self._clock()
        for given in inputs or [self.lesson.task.example]:
            at = self._clock()
            self.lesson.task.answers(model, [given])
            took.append(self._clock() - at)
            if self._clock() - begun > SINGLES_SECONDS:
                break
        return median(took)


class Parts(NamedTuple):
    """What probes learn from at most, in an order of which every beginning has all strata in
    their shares; and what they are asked: the validation records, then training records that
    they do not learn from."""

    learnt: pl.DataFrame
    asked: pl.DataFrame
    num_labelled: int


AUGMENTED = "augment:"
"""What the source of a record begins with that a step of `prepare` made of another."""


def parted(lesson: Lesson, seed: int) -> Parts:
    """Half of the labelled training records to learn from, and what is asked; the same for the
    same seed.

    The other half is asked about too: a validation split alone is too small to tell two
    families apart. Not about feedback, which tells of what went wrong, and not at all where
    records were augmented: what was made of them may be learnt from.
    """
    order = _shuffled(lesson, seed)
    half = max(order.height // 2, 1)
    learnt, rest = order.head(half), order.slice(half)
    validation = lesson.validation
    source = pl.col("source").cast(pl.String).fill_null("")
    rest = rest.filter(source != FEEDBACK_SOURCE)
    if order.filter(source.str.starts_with(AUGMENTED)).height:
        rest = rest.clear()
    if "key" in rest.columns:
        rest = rest.join(learnt.select("key"), on="key", how="anti")
    room = max(MOST_ASKED - validation.height, 0)
    asked = pl.concat([validation, rest.head(room)], how="diagonal")
    return Parts(learnt, asked, order.height)


def _shuffled(lesson: Lesson, seed: int) -> pl.DataFrame:
    frame = lesson.train.filter(lesson.task.labelled())
    mixed = frame.sample(fraction=1.0, shuffle=True, seed=seed)
    stratum = lesson.task.stratum()
    place = (pl.int_range(pl.len()).over(stratum) + 0.5) / pl.len().over(stratum)
    return mixed.with_columns(_place=place).sort("_place", maintain_order=True).drop("_place")


def _planned(family: Family, rows: int) -> int:
    """The passes that a family would make over so many records at most."""
    if not isinstance(family, Neural):
        return 1
    if isinstance(family, Hub):
        # Its `resolved` has to know the encoder, which is opened when it trains.
        return family.epochs or finetuning_epochs(rows)
    return family.epochs or epochs_for(rows)
