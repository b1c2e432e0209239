"""`feilun release`: a turn as far as that stage."""

from __future__ import annotations

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder
from feilun.cli.turn import turn
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("release", help=_("Judge by the policy: a report → what is live."))(release)


def release(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """A whole turn: `release` is its last stage."""
    turn("release", project, as_json)
