"""The page of alerts: what is wrong now, who has taken it on, and whether messages arrive."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, ClassVar

from feilun.console.page import Page
from feilun.core.i18n import N_
from feilun.wheel import alerts, notices
from feilun.wheel.project import Project

NEWEST = 50


class AlertsPage(Page):
    """Open alerts, those that are over, silences, and the channels to others."""

    use: ClassVar[str] = "alerts"
    stage: ClassVar[str] = "monitor"
    title: ClassVar[str] = N_("Alerts")
    template: ClassVar[str] = '{% include "alerts.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        box = alerts.alerts(project)
        rows = box.latest(NEWEST)
        dead = notices.outbox(project).dead(20)
        return {
            "open": [row for row in rows if row.cleared_at is None],
            "over": [row for row in rows if row.cleared_at is not None],
            "silences": box.silences(time.time()),
            "channels": notices.figures(project),
            "dead": dead,
            "said": alerts.said,
            "utc": utc,
            "minutes": project.settings.monitor.alerts.every_minutes,
        }


def utc(at: float) -> str:
    """A time in seconds since 1970 to the minute, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
