"""`feilun turn`, and a command for each stage of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.errors import Invalid, nearest
from feilun.core.i18n import N_, _

if TYPE_CHECKING:
    from feilun.wheel.turn import Turn

MAKING = ("collect", "prepare", "train", "evaluate", "release")
_HELP = {
    "collect": N_("Read the sources and the feedback: sources → raw records."),
    "prepare": N_("Clean, settle and split: raw records → a dataset."),
    "train": N_("Train what fits the budget: a dataset → a model."),
    "evaluate": N_("Measure on the frozen test: a model → a report."),
    "release": N_("Judge by the policy: a report → what is live."),
}


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
    """Adds `turn` and its stages."""
    app.command("turn", help=_("Make one revolution: collect → release."))(turn)
    app.command("collect", help=_(_HELP["collect"]))(collect)
    app.command("prepare", help=_(_HELP["prepare"]))(prepare)
    app.command("train", help=_(_HELP["train"]))(train)
    app.command("evaluate", help=_(_HELP["evaluate"]))(evaluate)
    app.command("release", help=_(_HELP["release"]))(release)


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


def collect(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """A turn as far as `collect`."""
    turn("collect", project, as_json)


def prepare(
    dropped: Annotated[
        str | None,
        typer.Option(help=_("Show dropped records: a reason, or all."), metavar="REASON"),
    ] = None,
    show: Annotated[int, typer.Option(min=1, help=_("How many of them."))] = 20,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """A turn as far as `prepare`; or, with --dropped, what the last one dropped."""
    if dropped is None:
        turn("prepare", project, as_json)
        return
    from feilun.cli.output import print_json, print_table
    from feilun.core.errors import shortened
    from feilun.wheel.describe import reason_name

    with open_project(project) as opened:
        frame = opened.dropped(reason=None if dropped == "all" else dropped)
    rows = frame.head(show).to_dicts()
    if as_json:
        print_json({"count": frame.height, "records": rows})
        return
    print_table(
        [_("reason"), _("source"), _("row"), _("label"), _("text")],
        (
            [
                reason_name(r["reason"]),
                r["source"],
                str(r["row"]),
                r["label"] or "",
                shortened(r["text"]),
            ]
            for r in rows
        ),
    )
    typer.echo(
        _("{shown} of {count:,} dropped records").format(shown=len(rows), count=frame.height)
    )


def train(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """A turn as far as `train`."""
    turn("train", project, as_json)


def evaluate(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """A turn as far as `evaluate`."""
    turn("evaluate", project, as_json)


def release(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """A whole turn: `release` is its last stage."""
    turn("release", project, as_json)
