"""`feilun monitor`: what the last hours look like, and the weakest slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _

if TYPE_CHECKING:
    from feilun.wheel.weakest import Shown, Weakest


def register(app: App) -> None:
    """Adds the command and what is below it."""
    group = App(
        help=_("Show traffic, drift, confidence, feedback and cost of the last hours."),
        invoke_without_command=True,
        callback=monitor,
    )
    group.command("weakest", help=_("Show where answers are wrong or unsure most often."))(weakest)
    group.command("dashboard", help=_("Print a dashboard for Grafana, as JSON."))(dashboard)
    app.add_typer(group, name="monitor")


def dashboard() -> None:
    """Prints what Grafana imports; it draws the metrics of a running service."""
    from feilun.service.telemetry.dashboard import dashboard as content

    typer.echo(content(), nl=False)


def monitor(
    context: typer.Context,
    hours: Annotated[
        float | None, typer.Option(min=0.01, help=_("How far back; else monitor.window_hours."))
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints every signal; a warning is marked."""
    if context.invoked_subcommand is not None:
        return
    from feilun.cli.output import print_json

    with open_project(project) as opened:
        signals = opened.signals(hours)
    if as_json:
        print_json([{**s._asdict(), "message": str(s.message)} for s in signals])
        return
    for signal in signals:
        loud = signal.level != "ok"
        typer.secho("! " if loud else "✓ ", fg="yellow" if loud else "green", nl=False)
        typer.echo(str(signal.message))


def weakest(
    context: typer.Context,
    days: Annotated[float, typer.Option(min=0.01, max=366, help=_("How far back."))] = 7.0,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints the weakest slices, by feedback and by confidence."""
    from feilun.cli.output import print_json

    # The group has the option too: `feilun monitor -C FOLDER weakest` means that folder.
    group = context.parent.params if context.parent is not None else {}
    folder = project if project != HERE else group.get("project", HERE)
    with open_project(folder) as opened:
        found = opened.weakest(days)
    if as_json or group.get("as_json"):
        print_json(found.summary())
        return
    _print(found)


def _print(found: Weakest) -> None:
    typer.echo(
        _("{answers:,} answers, {judged:,} of them judged, {wrong:,} wrong").format(
            answers=found.answers, judged=found.judged, wrong=found.wrong
        )
    )
    if found.unreadable:
        typer.echo(
            _("{count:,} of {looked_at:,} texts looked at cannot be read").format(
                count=found.unreadable, looked_at=found.looked_at
            )
        )
    for title, slices in (
        (_("Wrong more often than the rest"), found.by_feedback),
        (_("Unsure more often than the rest"), found.by_confidence),
    ):
        typer.secho(f"\n{title}", bold=True)
        for one in slices:
            _print_slice(one)
        if not slices:
            typer.echo("  " + _("nothing beyond chance"))


def _print_slice(one: Shown) -> None:
    from feilun.wheel.describe import slice_kind

    part = one.slice
    template = _(
        "{kind} {value}: {cases:,} of {answers:,}, {share:.1%} [{low:.1%}, {high:.1%}]; "
        "elsewhere {elsewhere:.1%}"
    )
    said = template.format(**{**part._asdict(), "kind": slice_kind(part.kind)})
    typer.echo(f"  {said}")
    for text in one.examples:
        typer.echo(f"      {text}")
