"""`feilun turn`: one revolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.errors import Invalid, nearest
from feilun.core.i18n import _

if TYPE_CHECKING:
    from feilun.wheel.turn import Turn

MAKING = ("collect", "prepare", "train", "evaluate", "release")


class UnknownStage(Invalid):
    """`--until` names no stage of a turn."""

    def __init__(self, name: str) -> None:
        guess = nearest(name, MAKING)
        super().__init__(
            _("'{name}' is no stage of a turn; they are: {known}.").format(
                name=name, known=", ".join(MAKING)
            ),
            remedy=f"feilun turn --until {guess or 'release'}",
        )


def register(app: App) -> None:
    """Adds the command."""
    app.command("turn", help=_("Make one revolution: collect → release."))(turn)


def turn(
    until: Annotated[
        str, typer.Option(help=_("Stop after this stage."), metavar="STAGE")
    ] = "release",
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Makes a turn, or goes on with the unfinished one."""
    if until not in MAKING:
        raise UnknownStage(until)
    from feilun.cli.output import print_json
    from feilun.cli.watch import Watch

    with open_project(project) as opened, Watch(quiet=as_json) as watch:
        made = opened.turn(until=until, observer=watch)
    if as_json:
        print_json(made.summary())
    else:
        print_turn(made, watched=watch.shown)


def print_turn(made: Turn, *, watched: bool) -> None:
    """The stages of a turn (unless they were printed as they ended) and its last line."""
    from feilun.cli.watch import print_stage
    from feilun.wheel.describe import status_name

    if not watched:
        results = {
            "collect": made.records,
            "prepare": made.dataset,
            "train": made.model,
            "evaluate": made.report,
            "release": made.verdict,
        }
        for step in made.steps:
            if results.get(step.stage) is not None:
                print_stage(step.stage, results[step.stage], step.cost, step.reused)
            if step.stage == "train" and made.model is not None and made.model.chosen_because:
                typer.echo(f"    {made.model.chosen_because}")
    typer.echo(
        _("Turn {number}: {status} in {seconds:.1f} s.").format(
            number=made.number, status=status_name(made.status), seconds=made.seconds
        )
    )
