"""`feilun notify`: messages to other services and people, and those that did not arrive."""

from __future__ import annotations

from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the group."""
    group = App(help=_("Messages to others: list, test, dead, retry, drop."), no_args_is_help=True)
    group.command("list", help=_("List the channels and how they are."))(list_channels)
    group.command("test", help=_("Send a test message at once."))(send_test)
    group.command("dead", help=_("List the messages that did not arrive."))(dead)
    group.command("retry", help=_("Send messages that did not arrive again."))(retry)
    group.command("drop", help=_("Throw messages that did not arrive away."))(drop)
    app.add_typer(group, name="notify")


Letter = Annotated[
    str | None, typer.Argument(help=_("The message's id; left out: all."), metavar="[ID]")
]


def list_channels(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints a line for each channel of the settings."""
    from feilun.cli.output import print_json, print_table
    from feilun.wheel import notices

    with open_project(project) as opened:
        rows = notices.figures(opened)
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    print_table(
        [_("channel"), _("to"), _("waiting"), _("arrived"), _("dead"), _("lost"), _("last")],
        [
            [
                row.name,
                row.to,
                *(f"{n:,}" for n in (row.waiting, row.delivered, row.dead, row.lost)),
                row.error or (_("well") if row.tried_at is not None else ""),
            ]
            for row in rows
        ],
    )


def send_test(
    name: Annotated[str, typer.Argument(help=_("The channel's name."))],
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Sends one message of the event `test`, and says whether it arrived."""
    from feilun.cli.output import print_json
    from feilun.wheel import notices

    with open_project(project) as opened:
        identity = notices.test(opened, name)
    if as_json:
        print_json({"id": identity, "channel": name})
        return
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(_("{id} arrived at {name}").format(id=identity, name=name))


def dead(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints the newest dead letters, newest first."""
    from datetime import datetime

    from feilun.cli.output import print_json, print_table
    from feilun.wheel import notices

    with open_project(project) as opened:
        letters = notices.outbox(opened).dead()
    if as_json:
        kept = ("id", "channel", "event", "subject", "at", "attempts", "error")
        print_json([{name: getattr(letter, name) for name in kept} for letter in letters])
        return
    print_table(
        ["id", _("channel"), _("event"), _("at"), _("tries"), _("why")],
        [
            [
                letter.id,
                letter.channel,
                letter.event,
                datetime.fromtimestamp(letter.at).astimezone().strftime("%Y-%m-%d %H:%M"),
                str(letter.attempts),
                letter.error or "",
            ]
            for letter in letters
        ],
    )


def retry(identity: Letter = None, project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Puts dead letters back; a running service sends them."""
    import time

    from feilun.cli.output import print_json
    from feilun.wheel import notices

    with open_project(project) as opened:
        count = notices.outbox(opened).retry(identity, time.time())
    if as_json:
        print_json({"waiting": count})
        return
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(_("{count:,} message(s) wait to be sent again").format(count=count))


def drop(identity: Letter = None, project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Throws dead letters away."""
    from feilun.cli.output import print_json
    from feilun.wheel import notices

    with open_project(project) as opened:
        count = notices.outbox(opened).drop(identity)
    if as_json:
        print_json({"dropped": count})
        return
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(_("{count:,} message(s) thrown away").format(count=count))
