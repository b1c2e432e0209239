"""An error that must not rise above a limit."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.release.rule import Case, Rule, Ruling


class Ceiling(Rule):
    """Passes when the upper end of `metric`'s interval is at most `maximum`."""

    use: ClassVar[str] = "ceiling"

    metric: str = Field("mae", description="a figure of the report of which less is better")
    maximum: float = Field(ge=0, description="for the upper end of its interval")

    def judge(self, case: Case) -> Ruling:
        figure = case.report.metrics.get(self.metric)
        if figure is None:
            template = N_("the report has no figure named {metric}")
            missing = Message(template=template, values={"metric": self.metric}, terms=("metric",))
            return Ruling(False, missing)
        passed = figure.high <= self.maximum
        template = (
            N_("ceiling kept: {metric} is at most {high:.3f}, the limit is {maximum}")
            if passed
            else N_(
                "above the ceiling: {metric} may be as high as {high:.3f}, the limit is {maximum}"
            )
        )
        values = {"metric": self.metric, "high": figure.high, "maximum": self.maximum}
        return Ruling(passed, Message(template=template, values=values, terms=("metric",)))
