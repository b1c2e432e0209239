"""`feilun history`: what was live when."""

from __future__ import annotations

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("history", help=_("Show what was live when, by whom and why."))(history)


def history(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints every move of `live`, newest first."""
    from feilun.cli.output import local_time, print_json, print_table
    from feilun.wheel.project import reason_text

    with open_project(project) as opened:
        rows = opened.history()
    if as_json:
        print_json([{**row._asdict(), "reason": reason_text(row)} for row in rows])
        return
    if not rows:
        typer.echo(_("No model is live yet."))
        return
    print_table(
        [_("since"), _("model"), _("turn"), _("by"), _("reason")],
        [
            [
                local_time(row.at),
                row.digest[7:19],
                "" if row.turn is None else str(row.turn),
                row.by,
                reason_text(row),
            ]
            for row in rows
        ],
    )
