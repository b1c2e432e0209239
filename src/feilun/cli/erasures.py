"""`feilun erasures`: the receipts."""

from __future__ import annotations

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("erasures", help=_("List the receipts of erasures."))(erasures)


def erasures(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints what each erasure removed, newest first; no names, no texts."""
    from feilun.cli.output import local_time, print_json, print_table

    with open_project(project) as opened:
        receipts = opened.erasures()
    if as_json:
        print_json([receipt.shown() for receipt in receipts])
        return
    if not receipts:
        typer.echo(_("Nobody was erased yet."))
        return
    print_table(
        [_("receipt"), _("at"), _("by"), _("predictions"), _("feedback"), _("other rows"),
         _("records"), _("models to train anew"), _("still there")],
        [
            [
                receipt.id,
                local_time(receipt.at),
                receipt.by,
                *(f"{count:,}" for count in (
                    receipt.predictions, receipt.feedback, receipt.others, receipt.rows
                )),
                ", ".join(receipt.models),
                ", ".join(f"{source}: {count:,}" for source, count in receipt.sources),
            ]
            for receipt in receipts
        ],
    )  # fmt: skip
