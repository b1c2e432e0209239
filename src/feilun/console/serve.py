"""The page of serving: a cascade's levels, what waits for a person, and the shadow."""

from __future__ import annotations

from typing import Any, ClassVar

from feilun.console.page import Page
from feilun.core.errors import shortened
from feilun.core.i18n import N_
from feilun.wheel.describe import figure
from feilun.wheel.levels import served, tested
from feilun.wheel.project import Project
from feilun.wheel.queue import waiting
from feilun.wheel.shadow import compared, shadow

SHOWN = 20


class ServePage(Page):
    """Share, cost and measured error of every level; the queue; the model in the shadow."""

    use: ClassVar[str] = "serve"
    stage: ClassVar[str] = "serve"
    title: ClassVar[str] = N_("Serving")
    template: ClassVar[str] = '{% include "serve.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        release = project.release
        hours = project.settings.monitor.window_hours
        model = release.model if release else None
        return {
            "model": model,
            "hours": hours,
            "test": tested(project, model) if model else None,
            "served": served(project, model, hours) if model else [],
            "queue": waiting(project, SHOWN),
            "shadow": shadow(project),
            "compared": compared(project, hours),
            "figure": figure,
            "shortened": shortened,
        }
