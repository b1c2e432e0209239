"""What is to be expected of each family with all records, and by how much one leads another."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from feilun.core.artifacts import Interval
from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.models import Lesson
from feilun.stages.train.advise.curve import Curve, Point, fitted
from feilun.stages.train.advise.pace import predicted
from feilun.stages.train.advise.probe import Probe, Probed, parted
from feilun.tasks.metrics import ERRORS
from feilun.wheel.advise.advice import Baseline, Option

WIDE, SURE = 1.96, 1.645
"""Standard deviations: of an interval of 95 %, and beyond which a lead is no chance (95 %, one
side)."""
SHARED = 0.5
"""The share of the validation split's sampling error that two trainings do not have in common:
both answered the same records."""
DRAW, DRAW_ROWS = 0.1, 64.0
"""By how much of itself an error changes with the draw of so many training records; with the
root of their number it falls."""
UNBOUNDED = frozenset({"r2", "spearman"})
FARTHEST = 10
"""A curve is not trusted with more than so many times the records of the largest probe: entities
were at F1 0 with 168 records and .64 with 5,400 (cnn)."""


class Outcome(NamedTuple):
    """What came of probing a family: what was measured, or why nothing was."""

    family: str
    model: dict[str, Any]
    probed: Probed | None = None
    note: Message | None = None


class Rival(NamedTuple):
    """Answers, that cost no training, to the records that are asked about: to all, or to those
    of the validation split, which come first (what is live has learnt from the others)."""

    kind: str
    answers: list[str | None]
    what: Message


class Given(NamedTuple):
    """What is judged, and by what."""

    dataset: str
    lesson: Lesson
    metric: str
    budget_seconds: float
    seed: int
    seconds: float = 0.0


class Expected(NamedTuple):
    """A probed family: its curve, the error expected of it, and its seconds."""

    outcome: Outcome
    curve: Curve
    point: Point
    sampling: float
    seconds: float

    @property
    def last(self) -> Probe:
        """The largest probe."""
        assert self.outcome.probed is not None
        return self.outcome.probed.probes[-1]


class Lead(NamedTuple):
    """By how much one is better than another, with its standard deviation; `paired` is the part
    that more records to judge by would make smaller, `asked` their number."""

    mean: float
    spread: float
    paired: float
    asked: int

    @property
    def sure(self) -> bool:
        """Whether it is there beyond chance."""
        return self.mean > SURE * self.spread


class Judge:
    """Expectations and leads by one metric on one validation split."""

    def __init__(self, given: Given) -> None:
        self.given = given
        parts = parted(given.lesson, given.seed)
        self.rows, self.asked = parts.num_labelled, parts.asked
        self.truth = given.lesson.task.truth(parts.asked)

    # Expectations

    def error(self, quality: float) -> float:
        """As an error: less is better (and back)."""
        return quality if self.given.metric in ERRORS else 1 - quality

    def interval(self, error: Point, sampling: float) -> Interval:
        """The quality of an expected error, 95 %."""
        wide = WIDE * math.hypot(error.spread, sampling)
        value = self.error(error.error)
        low, high = value - wide, value + wide
        if self.given.metric in ERRORS:
            return Interval(value, max(low, 0.0), high)
        floor = -1.0 if self.given.metric in UNBOUNDED else 0.0
        return Interval(max(value, floor), max(low, floor), min(high, 1.0))

    def trusted(self, outcome: Outcome) -> Outcome:
        """Without its probes, where they say too little of so many records."""
        probed = outcome.probed
        if probed is None or not probed.probes:
            return outcome
        rows = probed.probes[-1].rows
        if rows * FARTHEST >= self.rows:
            return outcome
        template = N_("its probes were too small ({rows} of {all} records); more: --seconds")
        note = Message(template=template, values={"rows": rows, "all": self.rows})
        return outcome._replace(probed=probed._replace(probes=()), note=note)

    def expected(self, outcome: Outcome) -> Expected:
        """What is to be expected with all records."""
        assert outcome.probed is not None
        probes = outcome.probed.probes
        errors = [max(self.error(one.quality.value), 0.0) for one in probes]
        sampling = [(one.quality.high - one.quality.low) / (2 * WIDE) for one in probes]
        spreads = [
            math.hypot(SHARED * of_split, DRAW * error * math.sqrt(DRAW_ROWS / one.rows))
            for one, error, of_split in zip(probes, errors, sampling, strict=True)
        ]
        curve = fitted([one.rows for one in probes], errors, spreads)
        seconds = predicted(
            [one.work for one in probes],
            [one.seconds for one in probes],
            self._work(outcome.probed),
            outcome.probed.seconds,
        )
        return Expected(outcome, curve, curve.at(self.rows), sampling[-1], seconds)

    def _work(self, probed: Probed) -> float:
        """What there is to do with all records: with more of them a network does not need more
        passes than the largest probe did."""
        stopped = probed.probes[-1].stopped or probed.passes
        return probed.work * min(1.0, stopped / probed.passes)

    def option(self, outcome: Outcome, known: Expected | None) -> Option:
        """A row of the table."""
        probed = outcome.probed
        made = Option(outcome.family, outcome.model, note=outcome.note)
        if probed is None:
            return made
        made = made._replace(seconds=probed.seconds, memory_mb=probed.memory_mb)
        if known is not None:
            made = made._replace(
                quality=self.interval(known.point, known.sampling),
                doubled=self.interval(known.curve.at(2 * self.rows), known.sampling),
                seconds=known.seconds,
                probed=tuple((one.rows, one.quality.value) for one in probed.probes),
            )
        if probed.served is not None:
            made = made._replace(
                latency_ms=probed.served.latency_ms,
                texts_per_second=probed.served.texts_per_second,
                core_hours=probed.served.cpu_seconds_per_text * 1e6 / 3600,
                size_mb=probed.served.size_mb,
            )
        return made

    def baseline(self, rival: Rival) -> Baseline:
        """A row of the table."""
        lesson = self.given.lesson
        truth = self.truth[: len(rival.answers)]
        found = lesson.task.evaluate(truth, rival.answers, lesson.labels, seed=self.given.seed)
        return Baseline(rival.kind, found.metrics[self.given.metric], rival.what)

    # Leads

    def _paired(self, one: list[str | None], two: list[str | None]) -> tuple[float, float]:
        """How far ahead `one` is on the validation records, with its standard deviation."""
        # Rivals may have answered the first of them only.
        count = min(len(one), len(two))
        gain = self.given.lesson.task.gain(
            self.truth[:count],
            one[:count],
            two[:count],
            metric=self.given.metric,
            against="",
            seed=self.given.seed,
        )
        return gain.delta, (gain.high - gain.low) / (2 * WIDE)

    def over_rival(self, one: Expected, rival: Rival) -> Lead:
        """The lead to be expected once trained on all records: what the largest probe has, and
        what its curve still falls."""
        delta, paired = self._paired(one.last.answers, rival.answers)
        fall = one.curve.fall(one.last.rows, self.rows)
        spread = math.hypot(paired, fall.spread)
        return Lead(delta + fall.error, spread, paired, len(rival.answers))

    def over(self, one: Expected, other: Expected) -> Lead:
        """The lead of a family over another, both trained on all records."""
        _delta, paired = self._paired(one.last.answers, other.last.answers)
        spread = math.hypot(one.point.spread, other.point.spread, paired)
        return Lead(other.point.error - one.point.error, spread, paired, len(self.truth))
