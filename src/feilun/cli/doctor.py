"""`feilun doctor`: is everything as it must be?"""

from __future__ import annotations

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("doctor", help=_("Check the installation, the project and every stored byte."))(
        doctor
    )


def doctor(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Exits 0 when all is well, 1 when not."""
    from feilun.cli.output import print_json
    from feilun.wheel.doctor import examine

    findings = examine(project)
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            typer.secho(
                "✓ " if finding.well else "✗ ", fg="green" if finding.well else "red", nl=False
            )
            typer.echo(f"{finding.what}: {finding.seen}")
            if finding.remedy and not finding.well:
                typer.secho(f"  → {finding.remedy}", fg="cyan")
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
