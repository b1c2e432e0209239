"""`feilun release`: a turn as far as that stage, or a model into the shadow."""

from __future__ import annotations

from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.cli.turn import turn
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("release", help=_("Judge by the policy: a report → what is live."))(release)


def release(
    shadow: Annotated[
        str | None,
        typer.Option(
            "--shadow",
            help=_("Instead: this model answers beside the live one, for nobody to see."),
            metavar="REF",
        ),
    ] = None,
    no_shadow: Annotated[
        bool, typer.Option("--no-shadow", help=_("Instead: no model answers in the shadow."))
    ] = False,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """A whole turn: `release` is its last stage."""
    if shadow is None and not no_shadow:
        turn("release", project, as_json)
        return
    from feilun.cli.output import print_json
    from feilun.wheel import shadow as shadows

    if shadow is not None and no_shadow:
        raise typer.BadParameter(_("it contradicts --shadow"), param_hint="--no-shadow")

    with open_project(project) as opened:
        if shadow is not None:
            shadows.put(opened, shadow)
        else:
            shadows.take(opened)
        model = shadows.shadow(opened)
    if as_json:
        print_json({"shadow": model.digest if model else None})
        return
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(
        _("In the shadow: {architecture} {digest}.").format(
            architecture=model.architecture, digest=model.short
        )
        if model
        else _("No model is in the shadow.")
    )
