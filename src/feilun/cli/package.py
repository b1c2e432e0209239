"""`feilun package`: a folder that serves a model on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command(
        "package",
        help=_("Write a folder that serves a model on another machine, without training data."),
    )(package)


def package(
    folder: Annotated[Path, typer.Argument(help=_("Empty, or not there yet."), metavar="FOLDER")],
    ref: Annotated[str, typer.Option(help=_("Which model."), metavar="REF")] = "model/live",
    force: Annotated[
        bool, typer.Option("--force", help=_("Update the package that is there; its log stays."))
    ] = False,
    wheel: Annotated[
        Path | None,
        typer.Option(
            help=_("Feilun for the other machine; else what runs here."),
            metavar="PATH",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Writes the folder."""
    from feilun.cli.output import print_json

    with open_project(project) as opened:
        opened.package(folder, ref, force=force, wheel=wheel)
    if as_json:
        print_json({"folder": str(folder)})
        return
    typer.echo(_("Written: {path}").format(path=folder))
    typer.echo(_("  How to run it: {path}").format(path=folder / "README.md"))
