"""The page of training: the loss as it falls, of what runs now or of the newest model."""

from __future__ import annotations

from typing import Any, ClassVar

from feilun.console.charts import can_draw, drawn_curves
from feilun.console.page import Page
from feilun.core.artifacts import Model
from feilun.core.errors import Missing
from feilun.core.i18n import N_
from feilun.wheel.curves import curves
from feilun.wheel.describe import metric_name
from feilun.wheel.project import Project


class TrainPage(Page):
    """Curves of the losses and scores that training logged, and each candidate's score."""

    use: ClassVar[str] = "train"
    stage: ClassVar[str] = "train"
    title: ClassVar[str] = N_("Training")
    template: ClassVar[str] = '{% include "train.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        model = _newest(project)
        found = curves(project.folder, model)
        return {
            "model": None if found.running else model,
            "running": found.running,
            "drawn": drawn_curves(found.figures) if can_draw() else [],
            "can_draw": can_draw(),
            "last": found.figures.group_by("part", "metric", maintain_order=True).last().rows(),
            "metric_name": metric_name,
        }


def _newest(project: Project) -> Model | None:
    try:
        found = project.get("model/latest")
    except Missing:
        return None
    return found if isinstance(found, Model) else None
