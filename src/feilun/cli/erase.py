"""`feilun erase`: remove a person."""

from __future__ import annotations

from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("erase", help=_("Remove a person from log, vault and stored files."))(erase)


def erase(
    subject: Annotated[
        str | None,
        typer.Argument(help=_("The person, as requests named them in `subject`.")),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help=_("What names them in texts: a number, an address, a name; repeatable.")),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints the receipt: what was removed, and which models must be trained anew."""
    from feilun.cli.output import print_json

    with open_project(project) as opened:
        receipt = opened.erase(subject, texts=text or ())
    if as_json:
        print_json(receipt.shown())
        return
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(
        _(
            "out of the log: {predictions:,} prediction(s), {feedback:,} feedback, {others:,} "
            "other row(s); out of {files:,} stored file(s): {rows:,} record(s) ({id})"
        ).format(**receipt._asdict())
    )
    for source, count in receipt.sources:
        typer.secho(
            _("  {count:,} came from {source}: remove them there too, or they come back").format(
                count=count, source=source
            ),
            fg="yellow",
        )
    if receipt.models:
        typer.echo(
            _("  learnt from them: {models}; train one without them: feilun turn").format(
                models=", ".join(receipt.models)
            )
        )
