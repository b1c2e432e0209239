"""`feilun log`: the event log's retention."""

from __future__ import annotations

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the group."""
    group = App(help=_("The log of predictions and feedback."), no_args_is_help=True)
    # Typer makes a lone command the whole group unless there is a callback.
    group.callback()(_group)
    group.command("purge", help=_("Remove what is older than serve.log allows."))(purge)
    app.add_typer(group, name="log")


def _group() -> None:
    pass


def purge(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints what went; the service does the same by itself every day."""
    from feilun.cli.output import print_json

    with open_project(project) as opened:
        purged = opened.purge_log()
    if as_json:
        print_json(purged._asdict())
        return
    typer.echo(
        _(
            "removed: texts {inputs:,}, predictions {predictions:,}, feedback {feedback:,}, "
            "failures {failures:,}"
        ).format(**purged._asdict())
    )
