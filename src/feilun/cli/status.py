"""`feilun status`: the turns so far and what is live."""

from __future__ import annotations

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("status", help=_("Show the turns so far and what is live."))(status)


def status(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints what is live, the newest turns, and the events."""
    from feilun.cli.output import local_time, print_json, print_table
    from feilun.wheel.describe import turn_columns
    from feilun.wheel.shadow import compared, told

    with open_project(project) as opened:
        release, turns, events = opened.release, opened.turns(20), opened.events.counts()
        beside = compared(opened, opened.settings.monitor.window_hours)
    if as_json:
        live = release and {
            "model": release.model.digest,
            "architecture": release.model.architecture,
            "since": release.since,
            "by": release.by,
            "reason": release.reason,
        }
        print_json(
            {
                "project": opened.settings.project.name,
                "live": live,
                "shadow": [one._asdict() for one in beside],
                "turns": [turn.summary() for turn in turns],
                "events": events,
            }
        )
        return
    if release is None:
        typer.echo(_("No model is live yet."))
    else:
        typer.echo(
            _("Live: {architecture} {digest} since {since}, by {by}: {reason}").format(
                architecture=release.model.architecture,
                digest=release.model.short,
                since=local_time(release.since),
                by=release.by,
                reason=release.reason,
            )
        )
    for one in beside:
        typer.echo(told(one))
    typer.echo(
        _("predictions: {predictions:,}, feedback: {feedback:,}, failures: {failures:,}").format(
            **events
        )
    )
    if not turns:
        typer.echo(_("Next:") + "  feilun turn")
        return
    typer.echo()
    print_table(
        turn_columns(opened.settings.metric),
        (turn.row() for turn in turns),
    )
