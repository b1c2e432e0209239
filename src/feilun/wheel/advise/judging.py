"""From probes to advice: what is expected of each family, what is worth training, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from feilun.core.artifacts import Interval
from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.models import Lesson
from feilun.stages.train.advise.curve import Curve, Point, fitted
from feilun.stages.train.advise.pace import predicted
from feilun.stages.train.advise.probe import Probe, Probed, parted
from feilun.tasks.metrics import ERRORS
from feilun.wheel.advise.advice import Advice, Baseline, LabelNeed, Option
from feilun.wheel.advise.labels import needs

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
LEAST_LEAD = 0.03
"""A lead that would be worth knowing, where too few records were there to see it."""
LEAST_GAIN = 0.005
"""Less than this no advice on labels is given."""
VAGUE, TOLD = 0.05, 0.03
"""A quality that is only known to within the first is told as vague, with the number of records
that would tell it to within the second."""


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


def advised(given: Given, outcomes: Sequence[Outcome], rivals: Sequence[Rival]) -> Advice:
    """The advice; the same for the same measurements."""
    judge = _Judge(given)
    expected = [judge.expected(one) for one in outcomes if one.probed and one.probed.probes]
    expected.sort(key=lambda one: one.seconds)
    known = {one.outcome.family: one for one in expected}
    options = tuple(judge.option(one, known.get(one.family)) for one in outcomes)
    baselines = tuple(judge.baseline(one) for one in rivals)
    found = Advice(
        dataset=given.dataset,
        metric=given.metric,
        num_train=judge.rows,
        num_asked=judge.asked.height,
        seconds=given.seconds,
        options=options,
        baselines=baselines,
        labels=(),
        train=False,
        family=None,
        model={},
        reasons=(),
    )
    if not expected:
        template = N_("nothing could be probed within {seconds:.0f} s; give it more: --seconds")
        return found._replace(
            reasons=(Message(template=template, values={"seconds": given.seconds}),)
        )
    best, why = judge.best(expected)
    against = judge.against(best, rivals)
    labels = needs(given.lesson._replace(validation=judge.asked), given.metric, _probes(best))
    model, contenders = judge.model(best, expected)
    reasons = [*against, *([] if against else [why, *contenders]), *judge.vague(best)]
    reasons += judge.more(best, expected, labels)
    return found._replace(
        labels=labels,
        train=not against,
        family=best.outcome.family,
        model=model,
        reasons=tuple(reasons),
    )


def _probes(one: Expected) -> tuple[Probe, ...]:
    assert one.outcome.probed is not None
    return one.outcome.probed.probes


class _Judge:
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

    def best(self, expected: list[Expected]) -> tuple[Expected, Message]:
        """The cheapest to train, unless a dearer one is better beyond chance."""
        best, *others = expected
        why = Message(
            template=N_("train {family}: nothing else that was probed is better beyond chance"),
            values={"family": best.outcome.family},
        )
        for other in others:
            lead = self.over(other, best)
            if lead.sure:
                template = N_(
                    "train {family}: it is expected to be better than {other}, {metric} "
                    "{delta:+.3f} [{low:+.3f}, {high:+.3f}]"
                )
                values = {
                    "family": other.outcome.family, "other": best.outcome.family,
                    "metric": self.given.metric, **_spread(lead),
                }  # fmt: skip
                best, why = other, Message(template=template, values=values, terms=("metric",))
        return best, why

    def model(
        self, best: Expected, expected: list[Expected]
    ) -> tuple[dict[str, Any], list[Message]]:
        """`[train] model`: the best family, or where others may be as good or better and there
        is time for all, `auto` among them."""
        left = self.given.budget_seconds - best.seconds
        names = [best.outcome.family]
        for one in expected:
            if one is best or one.outcome.model != {"architecture": one.outcome.family}:
                continue
            if self.over(one, best).mean > 0 and one.seconds <= left:
                names.append(one.outcome.family)
                left -= one.seconds
        if len(names) == 1 or best.outcome.model != {"architecture": best.outcome.family}:
            return best.outcome.model, []
        template = N_("{others} may be better: auto tries them too, and keeps the best")
        said = Message(template=template, values={"others": ", ".join(names[1:])})
        return {"architecture": "auto", "families": names}, [said]

    # Reasons

    def against(self, best: Expected, rivals: Sequence[Rival]) -> list[Message]:
        """Why not to train: each rival that the best is not better than beyond chance."""
        found = []
        for rival in rivals:
            lead = self.over_rival(best, rival)
            if lead.sure:
                continue
            if lead.mean > LEAST_LEAD and SURE * lead.paired > lead.mean / 2:
                found.append(self._too_few(best, rival, lead))
                continue
            template = {
                "trivial": N_(
                    "do not train: {family} would be no better beyond chance than always the "
                    "same answer, {metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}]"
                ),
                "rule": N_(
                    "do not train: a rule is enough; {family} would be no better beyond chance, "
                    "{metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}]"
                ),
                "live": N_(
                    "do not train: the live model is as good; {family} would be no better beyond "
                    "chance, {metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}]"
                ),
            }[rival.kind]
            values = {
                "family": best.outcome.family, "metric": self.given.metric, **_spread(lead)
            }  # fmt: skip
            found.append(Message(template=template, values=values, terms=("metric",)))
        return found

    def _too_few(self, best: Expected, rival: Rival, lead: Lead) -> Message:
        count = lead.asked
        # What the curve leaves open does not shrink with more validation records.
        tellable = max(lead.mean / SURE, 1e-6)
        template = N_(
            "do not train yet: {count} records to judge by cannot tell {family} from {rival}, "
            "{metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}]; about {needed} would"
        )
        values = {
            "count": count, "family": best.outcome.family,
            "rival": {
                "trivial": N_("always the same answer"), "rule": N_("a rule"),
                "live": N_("the live model"),
            }[rival.kind],
            "metric": self.given.metric, **_spread(lead),
            "needed": _round(max(count * (lead.paired / tellable) ** 2 * 2, count + 1)),
        }  # fmt: skip
        return Message(template=template, values=values, terms=("metric", "rival"))

    def vague(self, best: Expected) -> list[Message]:
        """That quality is known only roughly, where it is."""
        wide = WIDE * best.sampling
        if self.given.metric in ERRORS or wide <= VAGUE:
            return []
        count = len(self.truth)
        template = N_(
            "{count} records to judge by tell {metric} only to within ±{wide:.3f}; about "
            "{needed} would tell it to within ±{told}"
        )
        values = {
            "count": count, "metric": self.given.metric, "wide": wide,
            "needed": _round(count * (wide / TOLD) ** 2), "told": TOLD,
        }  # fmt: skip
        return [Message(template=template, values=values, terms=("metric",))]

    def more(
        self, best: Expected, expected: list[Expected], labels: tuple[LabelNeed, ...]
    ) -> list[Message]:
        """What more labels would bring, beside a bigger model."""
        fall = best.curve.fall(self.rows, 2 * self.rows)
        found = [
            Message(
                template=N_("twice the labels would bring {metric} about {gain:+.3f}"),
                values={
                    "metric": self.given.metric,
                    "gain": -fall.error if self.given.metric in ERRORS else fall.error,
                },
                terms=("metric",),
            )
        ]
        dearer = [
            (self.over(one, best).mean, one) for one in expected if one.seconds > best.seconds
        ]
        lead, bigger = max(dearer, key=lambda pair: pair[0], default=(0.0, None))
        if labels and labels[0].gain > max(lead, LEAST_GAIN):
            need = labels[0]
            values = {**need._asdict(), "metric": self.given.metric}
            template = N_(
                "{more} more labels of «{label}» (there are {have}, and {recall:.0%} of its texts "
                "are found) would bring {metric} about {gain:+.3f}"
            )
            if bigger is not None:
                template = N_(
                    "{more} more labels of «{label}» (there are {have}, and {recall:.0%} of its "
                    "texts are found) are worth more than a bigger model: {metric} about "
                    "{gain:+.3f}; {bigger}: {lead:+.3f}"
                )
                values |= {"bigger": bigger.outcome.family, "lead": lead}
            found.append(Message(template=template, values=values, terms=("metric",)))
        return found


def _spread(lead: Lead) -> dict[str, float]:
    wide = SURE * lead.spread
    return {"delta": lead.mean, "low": lead.mean - wide, "high": lead.mean + wide}


def _round(count: float) -> int:
    """To two digits, upwards."""
    scale = int(10 ** max(int(math.log10(max(count, 1))) - 1, 0))
    return math.ceil(count / scale) * scale
