"""The page of the signals, and of the weakest slices."""

from __future__ import annotations

from typing import Any, ClassVar

from feilun.console.page import Page
from feilun.core.i18n import N_
from feilun.wheel.describe import slice_kind
from feilun.wheel.project import Project
from feilun.wheel.signals import recent
from feilun.wheel.weakest import DAYS, recent_weakest


class MonitorPage(Page):
    """Every signal of the window, and the slices of the last week in which answers were wrong, or
    unsure, more often than in the rest."""

    use: ClassVar[str] = "monitor"
    stage: ClassVar[str] = "monitor"
    title: ClassVar[str] = N_("Monitor")
    template: ClassVar[str] = '{% include "monitor.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        return {
            "signals": recent(project),
            "hours": project.settings.monitor.window_hours,
            "days": DAYS,
            "weakest": recent_weakest(project),
            "slice_kind": slice_kind,
        }
