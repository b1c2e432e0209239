"""The page of who used how much."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from feilun.console.page import Page
from feilun.core.i18n import N_
from feilun.wheel.predictions import LOCAL_KEY
from feilun.wheel.project import Project

SHOWN_DAYS = 31


class UsagePage(Page):
    """What each key used this month, what is left of its quota, and the sums of each day."""

    use: ClassVar[str] = "usage"
    stage: ClassVar[str] = "serve"
    title: ClassVar[str] = N_("Usage")
    template: ClassVar[str] = '{% include "usage.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        keys = sorted(project.usage(), key=lambda entry: -entry.predictions)
        sums: dict[str, list[float]] = {}
        for entry in keys:
            for day in entry.days:
                total = sums.setdefault(day.day, [0, 0, 0, 0.0])
                for place, amount in enumerate(
                    (day.requests, day.predictions, day.characters, day.cost)
                ):
                    total[place] += amount
        return {
            "keys": [entry for entry in keys if entry.open or entry.requests],
            "days": sorted(sums.items(), reverse=True)[:SHOWN_DAYS],
            "last_used": {entry.key: _minute(entry.last_used) for entry in keys},
            "local": LOCAL_KEY,
            "month": f"{datetime.now(UTC):%Y-%m}",
        }


def _minute(seconds: float | None) -> str:
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
