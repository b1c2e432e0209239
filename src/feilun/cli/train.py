"""`feilun train`: a turn as far as that stage."""

from __future__ import annotations

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder
from feilun.cli.turn import turn
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("train", help=_("Train what fits the budget: a dataset → a model."))(train)


def train(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """A turn as far as `train`."""
    turn("train", project, as_json)
