"""`feilun alert`: what is wrong now, who has taken it on, and what is to be silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _

if TYPE_CHECKING:
    from feilun.store.events.alerts import AlertRow


def register(app: App) -> None:
    """Adds the group."""
    group = App(help=_("Alerts: list, silence, ack, look."), no_args_is_help=True)
    group.command("list", help=_("List the open alerts, or the newest of all."))(list_alerts)
    group.command("silence", help=_("Tell nobody of some alerts for a while."))(silence)
    group.command("ack", help=_("Take an open alert on; it is not told again."))(ack)
    group.command("look", help=_("Look at the signals once, as the service does."))(look)
    app.add_typer(group, name="alert")


Name = Annotated[
    str, typer.Argument(help=_("The alert's name or id; * stands for anything."), metavar="NAME")
]


def list_alerts(
    every: Annotated[bool, typer.Option("--all", help=_("Those that are over, too."))] = False,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints the open alerts, oldest first; with `--all` the newest, newest first."""
    import time

    from feilun.cli.output import print_json
    from feilun.wheel import alerts

    with open_project(project) as opened:
        box = alerts.alerts(opened)
        rows = box.latest() if every else box.open()
        silences = box.silences(time.time())
    if as_json:
        print_json(
            {
                "alerts": [alerts.shown(row) for row in rows],
                "silences": [silence._asdict() for silence in silences],
            }
        )
        return
    _print(rows)
    for silence in silences:
        typer.echo(
            _("{name} is silent until {time}, by {by}").format(
                name=silence.name, time=_local(silence.until), by=silence.by
            )
        )


def silence(
    name: Name,
    duration: Annotated[str, typer.Argument(help=_("30m, 2h, 1d; 0s ends it."))],
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Says until when it is silent."""
    from feilun.cli.output import print_json
    from feilun.cli.times import duration_seconds
    from feilun.wheel import alerts

    seconds = duration_seconds(duration)
    with open_project(project) as opened:
        made = alerts.silence(opened, name, seconds)
    if as_json:
        print_json(made._asdict())
        return
    typer.secho("✓ ", fg="green", nl=False)
    if made.until > made.at:
        typer.echo(
            _("{name} is silent until {time}, by {by}").format(
                name=made.name, time=_local(made.until), by=made.by
            )
        )
    else:
        typer.echo(_("{name} is not silent any more").format(name=made.name))


def ack(name: Name, project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Says which alerts were taken on."""
    from feilun.cli.output import print_json
    from feilun.wheel import alerts

    with open_project(project) as opened:
        taken = alerts.acknowledge(opened, name)
    if as_json:
        print_json([alerts.shown(row) for row in taken])
        return
    for row in taken:
        typer.secho("✓ ", fg="green", nl=False)
        typer.echo(_("{name} is yours, {by}").format(name=row.name, by=row.acked_by))


def look(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Takes one look and says what it raised and cleared; a look counts."""
    from feilun.cli.output import print_json
    from feilun.wheel import alerts

    with open_project(project) as opened:
        change = alerts.look(opened)
        rows = alerts.alerts(opened).open()
    assert change is not None
    if as_json:
        print_json(
            {name: [alerts.shown(row) for row in found] for name, found in change._asdict().items()}
        )
        return
    _print(rows)


def _print(rows: list[AlertRow]) -> None:
    from feilun.cli.output import print_table
    from feilun.wheel.alerts import said

    if not rows:
        typer.secho("✓ ", fg="green", nl=False)
        typer.echo(_("No alerts."))
        return
    print_table(
        [_("alert"), _("since"), _("over"), _("taken on by"), _("what")],
        [
            [
                row.name,
                _local(row.raised_at),
                _local(row.cleared_at) if row.cleared_at is not None else "",
                row.acked_by or "",
                said(row),
            ]
            for row in rows
        ],
    )


def _local(at: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
