"""`feilun serve`: the service and the console."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("serve", help=_("Serve what is live over HTTP, with the console."))(serve)


def serve(
    host: Annotated[str | None, typer.Option(help=_("Where to listen; else serve.host."))] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=_("0: any free one; else serve.port."))
    ] = None,
    package: Annotated[
        Path | None,
        typer.Option(
            help=_("Serve what is in this package; its log goes to the project's folder."),
            metavar="PATH",
        ),
    ] = None,
    project: ProjectFolder = HERE,
) -> None:
    """Runs until it is told to stop (Ctrl-C, SIGTERM); open requests are answered first."""
    # Nothing that is loaded now is garbage; looking for it takes a tenth of the start.
    gc.disable()
    from feilun.service.run import Ready
    from feilun.service.run import serve as run
    from feilun.wheel.packaging.manifest import MANIFEST
    from feilun.wheel.packaging.taking import take_in

    def ready(server: Ready) -> None:
        typer.secho("✓ ", fg="green", nl=False)
        typer.echo(_("Serving at {url}").format(url=server.url))
        typer.echo(_("  console: {url}/console   API: {url}/docs").format(url=server.url))
        if server.first_key is not None:
            typer.echo(_("  API key, shown this once: {key}").format(key=server.first_key))
        if not server.live:
            typer.echo(_("  No model is live yet: feilun turn"))
        if server.refused:
            refused = _("  The live model cannot be loaded; the one before answers: feilun doctor")
            typer.secho(refused, fg="red")
        if server.exposed:
            warning = _("  Other machines can reach it: put TLS in front of it.")
            typer.secho(warning, fg="yellow")
        # Whoever started it may wait for these lines through a pipe.
        sys.stdout.flush()

    if package is not None or (project / MANIFEST).is_file():
        take_in(package or project, project)
    with open_project(project) as opened:
        run(opened, host, port, on_ready=ready)
