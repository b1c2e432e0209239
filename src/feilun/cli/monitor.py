"""`feilun monitor`: requests, latency, errors, label shares of the last hours."""

from __future__ import annotations

from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("monitor", help=_("Show requests, latency, errors and label shares."))(monitor)


def monitor(
    hours: Annotated[
        float | None, typer.Option(min=0.01, help=_("How far back; else monitor.window_hours."))
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints every signal; a warning is marked."""
    from feilun.cli.output import print_json

    with open_project(project) as opened:
        signals = opened.signals(hours)
    if as_json:
        print_json([{**s._asdict(), "message": str(s.message)} for s in signals])
        return
    for signal in signals:
        loud = signal.level != "ok"
        typer.secho("! " if loud else "✓ ", fg="yellow" if loud else "green", nl=False)
        typer.echo(str(signal.message))
