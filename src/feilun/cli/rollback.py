"""`feilun rollback`: back to what was live before."""

from __future__ import annotations

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("rollback", help=_("Make live again what was live before."))(rollback)


def rollback(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Moves `live`; a running service follows within a second or two."""
    from feilun.cli.output import print_json

    with open_project(project) as opened:
        release = opened.rollback()
    if as_json:
        print_json({"model": release.model.digest, "since": release.since, "by": release.by})
        return
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(
        _("Live again: {architecture} {digest}.").format(
            architecture=release.model.architecture, digest=release.model.short
        )
    )
