"""From probes to advice: what is worth training, what is not, and why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.train.advise.probe import Probe
from feilun.tasks.metrics import ERRORS
from feilun.wheel.advise.advice import Advice, LabelNeed
from feilun.wheel.advise.expecting import (
    SURE,
    WIDE,
    Expected,
    Given,
    Judge,
    Lead,
    Outcome,
    Rival,
)
from feilun.wheel.advise.labels import needs

LEAST_LEAD = 0.03
"""A lead that would be worth knowing, where too few records were there to see it."""
LEAST_GAIN = 0.003
"""Less than this no advice on labels is given."""
VAGUE, TOLD = 0.05, 0.03
"""A quality that is only known to within the first is told as vague, with the number of records
that would tell it to within the second."""


def advised(given: Given, outcomes: Sequence[Outcome], rivals: Sequence[Rival]) -> Advice:
    """The advice; the same for the same measurements."""
    judge = Judge(given)
    outcomes = [judge.trusted(one) for one in outcomes]
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
    best, why = _best(judge, expected)
    against = _against(judge, best, rivals)
    labels = needs(given.lesson._replace(validation=judge.asked), given.metric, _probes(best))
    model, contenders = _model(judge, best, expected)
    reasons = [*against, *([] if against else [why, *contenders]), *_vague(judge, best)]
    reasons += _more(judge, best, expected, labels)
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


def _best(judge: Judge, expected: list[Expected]) -> tuple[Expected, Message]:
    """The cheapest to train, unless a dearer one is better beyond chance."""
    best, *others = expected
    why = Message(
        template=N_("train {family}: nothing else that was probed is better beyond chance"),
        values={"family": best.outcome.family},
    )
    for other in others:
        lead = judge.over(other, best)
        if lead.sure:
            template = N_(
                "train {family}: it is expected to be better than {other}, {metric} "
                "{delta:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
            values = {
                "family": other.outcome.family, "other": best.outcome.family,
                "metric": judge.given.metric, **_spread(lead),
            }  # fmt: skip
            best, why = other, Message(template=template, values=values, terms=("metric",))
    return best, why


def _model(
    judge: Judge, best: Expected, expected: list[Expected]
) -> tuple[dict[str, Any], list[Message]]:
    """`[train] model`: the best family, or where others may be as good or better and there
    is time for all, `auto` among them."""
    left = judge.given.budget_seconds - best.seconds
    names = [best.outcome.family]
    for one in expected:
        if one is best or one.outcome.model != {"architecture": one.outcome.family}:
            continue
        if judge.over(one, best).mean > 0 and one.seconds <= left:
            names.append(one.outcome.family)
            left -= one.seconds
    if len(names) == 1 or best.outcome.model != {"architecture": best.outcome.family}:
        return best.outcome.model, []
    # `auto` takes a dearer one only where it is better beyond chance.
    tried = [one.outcome.family for one in expected if one.outcome.family in names]
    template = N_("{others} may be better: auto tries them too, and keeps the best")
    said = Message(template=template, values={"others": ", ".join(names[1:])})
    return {"architecture": "auto", "families": tried}, [said]


def _against(judge: Judge, best: Expected, rivals: Sequence[Rival]) -> list[Message]:
    """Why not to train: each rival that the best is not better than beyond chance."""
    found = []
    for rival in rivals:
        lead = judge.over_rival(best, rival)
        if lead.sure:
            continue
        if lead.mean > LEAST_LEAD and SURE * lead.paired > lead.mean / 2:
            found.append(_too_few(judge, best, rival, lead))
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
            "family": best.outcome.family, "metric": judge.given.metric, **_spread(lead)
        }  # fmt: skip
        found.append(Message(template=template, values=values, terms=("metric",)))
    return found


def _too_few(judge: Judge, best: Expected, rival: Rival, lead: Lead) -> Message:
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
        "metric": judge.given.metric, **_spread(lead),
        "needed": _round(max(count * (lead.paired / tellable) ** 2 * 2, count + 1)),
    }  # fmt: skip
    return Message(template=template, values=values, terms=("metric", "rival"))


def _vague(judge: Judge, best: Expected) -> list[Message]:
    """That quality is known only roughly, where it is."""
    wide = WIDE * best.sampling
    if judge.given.metric in ERRORS or wide <= VAGUE:
        return []
    count = len(judge.truth)
    template = N_(
        "{count} records to judge by tell {metric} only to within ±{wide:.3f}; about "
        "{needed} would tell it to within ±{told}"
    )
    values = {
        "count": count, "metric": judge.given.metric, "wide": wide,
        "needed": _round(count * (wide / TOLD) ** 2), "told": TOLD,
    }  # fmt: skip
    return [Message(template=template, values=values, terms=("metric",))]


def _more(
    judge: Judge, best: Expected, expected: list[Expected], labels: tuple[LabelNeed, ...]
) -> list[Message]:
    """What more labels would bring, beside a bigger model."""
    fall = best.curve.fall(judge.rows, 2 * judge.rows)
    found = [
        Message(
            template=N_("twice the labels would bring {metric} about {gain:+.3f}"),
            values={
                "metric": judge.given.metric,
                "gain": -fall.error if judge.given.metric in ERRORS else fall.error,
            },
            terms=("metric",),
        )
    ]
    dearer = [(judge.over(one, best).mean, one) for one in expected if one.seconds > best.seconds]
    lead, bigger = max(dearer, key=lambda pair: pair[0], default=(0.0, None))
    if labels and labels[0].gain > max(lead, LEAST_GAIN):
        need = labels[0]
        values = {**need._asdict(), "metric": judge.given.metric}
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
