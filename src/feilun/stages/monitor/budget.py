"""What the answers cost."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor.detector import Detector, Level, Signal, Window

_DAY_SECONDS = 86_400
_COST = N_("cost: {value:.4f} a day")
_COST_OF = N_("cost: {value:.4f} a day; the limit is {limit} (max_cost_per_day)")
_EACH = N_("cost: {value:.4f} for a thousand predictions")
_EACH_OF = N_(
    "cost: {value:.4f} for a thousand predictions; the limit is {limit} (max_cost_per_thousand)"
)


class Budget(Detector):
    """The cost of the window's answers, for a day and for a thousand predictions, in the
    project's currency; silent while nothing costs anything. Latency and errors have their limits
    in `traffic`."""

    use: ClassVar[str] = "budget"

    max_cost_per_day: float | None = Field(None, ge=0, description="above it: a warning")
    max_cost_per_thousand: float | None = Field(None, ge=0, description="above it: a warning")

    def detect(self, window: Window) -> list[Signal]:
        days = max(window.until - window.since, 1.0) / _DAY_SECONDS
        each = 1000 * window.cost / max(window.usage.predictions, 1)
        found = [
            ("cost_per_day", window.cost / days, self.max_cost_per_day, (_COST, _COST_OF)),
            ("cost_per_thousand", each, self.max_cost_per_thousand, (_EACH, _EACH_OF)),
        ]
        return [
            Signal(
                name,
                value,
                Level.WARNING if limit is not None and value > limit else Level.OK,
                Message(
                    template=templates[limit is not None], values={"value": value, "limit": limit}
                ),
                limit,
                self.use,
            )
            for name, value, limit, templates in found
            if limit is not None or window.cost
        ]
