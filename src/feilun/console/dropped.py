"""The page of the records that preparing dropped, and why."""

from __future__ import annotations

from typing import Any, ClassVar

from feilun.console.page import Page
from feilun.core.errors import Missing, shortened
from feilun.core.i18n import N_
from feilun.wheel.describe import reason_name
from feilun.wheel.project import Project

SHOWN = 25


class Dropped(Page):
    """How many records the newest dataset lost for which reason, and the first of each."""

    use: ClassVar[str] = "dropped"
    stage: ClassVar[str] = "prepare"
    title: ClassVar[str] = N_("Dropped records")
    template: ClassVar[str] = '{% include "dropped.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        try:
            frame = project.dropped()
        except Missing:
            return {"total": 0, "counts": [], "rows": [], "shown": SHOWN}
        counts = frame["reason"].value_counts(sort=True).rows()
        first = frame.group_by("reason", maintain_order=True).head(SHOWN)
        first = first.with_columns(project.shown(first["text"]).alias("text"))
        rows = [
            {
                **row,
                "reason": reason_name(row["reason"]),
                "text": shortened(row["text"] or "", 200),
                "source": shortened(row["source"], 40),
            }
            for row in first.to_dicts()
        ]
        counted = [(reason_name(reason), count) for reason, count in counts]
        return {"total": frame.height, "counts": counted, "rows": rows, "shown": SHOWN}
