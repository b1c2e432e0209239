"""A figure that must not fall below a limit."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.release.rule import Case, Rule, Ruling


class Floor(Rule):
    """Passes when the lower end of `metric`'s interval is at least `minimum`."""

    use: ClassVar[str] = "floor"

    metric: str = Field("macro_f1", description="a figure of the report")
    minimum: float = Field(ge=0, le=1, description="for the lower end of its interval")

    def judge(self, case: Case) -> Ruling:
        figure = case.report.metrics.get(self.metric)
        if figure is None:
            template = N_("the report has no figure named {metric}")
            missing = Message(template=template, values={"metric": self.metric}, terms=("metric",))
            return Ruling(False, missing)
        passed = figure.low >= self.minimum
        template = (
            N_("floor kept: {metric} is at least {low:.3f}, the limit is {minimum}")
            if passed
            else N_("below the floor: {metric} may be as low as {low:.3f}, the limit is {minimum}")
        )
        values = {"metric": self.metric, "low": figure.low, "minimum": self.minimum}
        return Ruling(passed, Message(template=template, values=values, terms=("metric",)))
