"""Only what is measurably better goes live."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.release.rule import Case, Rule, Ruling


class Better(Rule):
    """Passes when the whole interval of the gain is above `minimum_gain`: a tie is refused, for
    a change that cannot be shown to help only costs."""

    use: ClassVar[str] = "better"

    minimum_gain: float = Field(0.0, ge=0, description="in units of the metric")

    def judge(self, case: Case) -> Ruling:
        gain = case.gain
        passed = gain.low > self.minimum_gain
        if passed:
            template = N_(
                "better: {metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}] against {against}"
            )
        elif gain.low == gain.high == 0:
            template = N_("not better: the same answers as {against}")
        elif gain.high < 0:
            template = N_(
                "regression: {metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}] against {against}"
            )
        else:
            template = N_(
                "not shown to be better: {metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}] against "
                "{against} does not exclude {minimum}"
            )
        values = gain.model_dump() | {"minimum": self.minimum_gain}
        return Ruling(
            passed, Message(template=template, values=values, terms=("metric", "against"))
        )
