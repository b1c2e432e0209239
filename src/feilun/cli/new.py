"""`feilun new`: a project from a file or folder of records."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson
from feilun.core.errors import Invalid, nearest
from feilun.core.i18n import _


class UnknownTask(Invalid):
    """`--task` names no installed task."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            _("'{name}' is no task; known: {known}.").format(name=name, known=", ".join(known)),
            remedy=f"feilun new NAME --task {nearest(name, known) or known[0]} --data PATH",
        )


def register(app: App) -> None:
    """Adds the command."""
    app.command("new", help=_("Make a project: a folder with a feilun.toml."))(new)


def new(
    name: Annotated[str, typer.Argument(help=_("The project's name, and its folder's."))],
    data: Annotated[
        Path, typer.Option(help=_("The records: a file, or a folder."), metavar="PATH")
    ],
    task: Annotated[str, typer.Option(help=_("What the model is to do."))] = "classify",
    text: Annotated[
        str | None, typer.Option(help=_("The column of the text."), metavar="COLUMN")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help=_("The column of the label."), metavar="COLUMN")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(help=_("Of pairs: the column of the first text."), metavar="COLUMN"),
    ] = None,
    second: Annotated[
        str | None,
        typer.Option(help=_("Of pairs: the column of the second text."), metavar="COLUMN"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Writes `NAME/feilun.toml` and says what comes next."""
    from feilun.core.part import names
    from feilun.wheel.template import new as make

    if task not in names("task"):
        raise UnknownTask(task, names("task"))
    named = {"text": text, "label": label, "first": first, "second": second}
    project = make(name, task=task, data=data, parent=HERE, **named)
    source = project.settings.collect.sources[0].model_dump()
    if as_json:
        from feilun.cli.output import print_json

        print_json({"project": name, "folder": str(project.root), "source": source})
        return
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(_("{path} is ready.").format(path=Path(name) / "feilun.toml"))
    columns = source.get("columns") or {}
    if columns:
        shown = ", ".join(f"{role} = {column}" for role, column in columns.items())
        typer.echo(_("  columns: {columns}").format(columns=shown))
    typer.echo(_("Next:") + f"  cd {name} && feilun turn")
