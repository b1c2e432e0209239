"""`feilun evaluate`: a turn as far as that stage."""

from __future__ import annotations

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder
from feilun.cli.turn import turn
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("evaluate", help=_("Measure on the frozen test: a model → a report."))(evaluate)


def evaluate(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """A turn as far as `evaluate`."""
    turn("evaluate", project, as_json)
