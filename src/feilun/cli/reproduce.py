"""`feilun reproduce REF`: make it again and compare."""

from __future__ import annotations

from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("reproduce", help=_("Make an artifact again and compare it byte for byte."))(
        reproduce
    )


def reproduce(
    ref: Annotated[str, typer.Argument(help=_("KIND/NAME"), metavar="REF")],
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Exits 0 when every byte is equal, 1 when not."""
    from feilun.cli.output import print_json, print_table
    from feilun.cli.watch import Watch
    from feilun.wheel.reproduce import reproduce as again

    with open_project(project) as opened, Watch(quiet=as_json) as watch:
        result = again(opened, ref, watch)
    if as_json:
        print_json({**result._asdict(), "same": result.same})
    else:
        print_table(
            [_("file"), _("then"), _("now"), ""],
            [
                [name, (then or "-")[:16], (now or "-")[:16], "=" if then == now else "≠"]
                for name, (then, now) in result.files.items()
            ],
        )
        if result.same:
            typer.secho(_("{ref}: every byte is equal.").format(ref=result.ref), fg="green")
        else:
            typer.secho(_("{ref} differs.").format(ref=result.ref), fg="red")
            if result.inputs_changed:
                changed = ", ".join(result.inputs_changed)
                typer.echo(_("  these inputs have changed since: {names}").format(names=changed))
            if not result.same_code:
                typer.echo(_("  it was made by another version of the code"))
    if not result.same:
        raise typer.Exit(1)
