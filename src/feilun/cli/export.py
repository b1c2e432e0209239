"""`feilun export`: a model as a folder for other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


class Form(StrEnum):
    """What the folder is for."""

    hf = "hf"
    onnx = "onnx"
    mlflow = "mlflow"


def register(app: App) -> None:
    """Adds the command."""
    app.command(
        "export", help=_("Write a model into a folder, for Hugging Face, ONNX Runtime or MLflow.")
    )(export)


def export(
    folder: Annotated[Path, typer.Argument(help=_("Empty, or not there yet."), metavar="FOLDER")],
    to: Annotated[Form, typer.Option(help=_("For which tool."))] = Form.hf,
    ref: Annotated[str, typer.Option(help=_("Which model."), metavar="REF")] = "model/live",
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Writes the folder."""
    from feilun.cli.output import print_json
    from feilun.wheel.export import export as write

    with open_project(project) as opened:
        write(opened, ref, to.value, folder)
    if as_json:
        files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        print_json({"folder": str(folder), "files": files})
    else:
        typer.echo(_("Written: {path}").format(path=folder))
