"""The page of what became of the records, and the same as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from feilun.console.charts import charts
from feilun.console.page import Page
from feilun.core.errors import Missing
from feilun.core.i18n import N_, _
from feilun.store.disk import write_file
from feilun.wheel.describe import reason_name, split_name
from feilun.wheel.profile import Profile, profile
from feilun.wheel.project import Project


class PreparePage(Page):
    """From raw to kept, step by step, with examples; the newest dataset."""

    use: ClassVar[str] = "prepare"
    stage: ClassVar[str] = "prepare"
    title: ClassVar[str] = N_("Data")
    template: ClassVar[str] = '{% include "prepare.html" %}'

    def values(self, project: Project) -> dict[str, Any]:
        try:
            return _values(profile(project))
        except Missing:
            return _values(None)


def write_report(project: Project, ref: str, path: Path) -> Profile:
    """Writes the page of the dataset `ref` to `path`: one HTML file that needs nothing else and
    runs no script; returns what it shows."""
    from feilun.console.pages import standalone

    data = profile(project, ref)
    title = _("{project}: what became of the records").format(project=project.settings.project.name)
    write_file(path, standalone("prepare.html", title, _values(data)))
    return data


def _values(data: Profile | None) -> dict[str, Any]:
    return {
        "data": data,
        "drawn": charts(data) if data is not None else {},
        "reason_name": reason_name,
        "split_name": split_name,
    }
