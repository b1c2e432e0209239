"""`feilun pretrain`: an encoder of your own, from texts without labels."""

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
        "pretrain",
        help=_("Pretrain an encoder on the dataset's texts, into a folder that `hub` builds on."),
    )(pretrain)


def pretrain(
    to: Annotated[Path, typer.Option(help=_("Empty, or not there yet."), metavar="FOLDER")],
    budget_seconds: Annotated[
        float | None,
        typer.Option(
            help=_("The most that it may take; left out: train.budget_seconds."), metavar="SECONDS"
        ),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Writes the folder."""
    from feilun.cli.output import print_json
    from feilun.cli.watch import Watch
    from feilun.wheel.pretraining import pretrain as write

    with open_project(project) as opened, Watch(quiet=as_json) as watch:
        write(opened, to, budget_seconds, watch)
    if as_json:
        print_json({"folder": str(to), "files": sorted(p.name for p in to.iterdir())})
    else:
        typer.echo(_("Written: {path}").format(path=to))
