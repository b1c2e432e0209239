"""`feilun feedback`: add one, import many, export all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the group."""
    group = App(
        help=_("Feedback on predictions: add, import, export, queue."), no_args_is_help=True
    )
    group.command("add", help=_("Add feedback to one prediction."))(add)
    group.command("import", help=_("Import feedback from a table."))(import_table)
    group.command("export", help=_("Export all feedback, joined to its predictions."))(export)
    group.command("queue", help=_("What waits for a person's answer."))(queue)
    app.add_typer(group, name="feedback")


def add(
    prediction_id: Annotated[str, typer.Argument(help=_("The prediction's id."))],
    kind: Annotated[str, typer.Argument(help=_("rating, correction, outcome or comment"))],
    value: Annotated[
        str, typer.Argument(help=_("A label, a text, true, false, or 0 to 1 for a rating."))
    ],
    source: Annotated[str, typer.Option(help=_("Who says so."))] = "",
    key: Annotated[
        str | None, typer.Option("--idempotency-key", help=_("Repeat safely under this key."))
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints the feedback's id once it is durable."""
    from feilun.cli.output import print_json
    from feilun.wheel.exchange import parse_value

    with open_project(project) as opened:
        identity = opened.feedback(
            prediction_id, kind, parse_value(kind, value), source=source, idempotency_key=key
        )
    if as_json:
        print_json({"id": identity})
    else:
        typer.echo(identity)


def import_table(
    path: Annotated[
        Path,
        typer.Argument(
            help=_("A table with the columns prediction_id, kind, value and, if any, source."),
            metavar="FILE",
        ),
    ],
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Imports row by row; the same file again adds nothing."""
    from feilun.wheel.exchange import import_feedback

    with open_project(project) as opened:
        result = import_feedback(opened, path)
    _report(result._asdict(), as_json)
    if result.refused:
        for row, reason in result.refused[:10]:
            typer.secho(_("  row {row}: {reason}").format(row=row, reason=reason), err=True)
        raise typer.Exit(1)


def _report(result: dict[str, Any], as_json: bool) -> None:
    from feilun.cli.output import print_json

    if as_json:
        print_json(result)
    else:
        refused = len(result["refused"])
        typer.echo(
            _("{added:,} added, {refused:,} refused").format(added=result["added"], refused=refused)
        )


def export(
    path: Annotated[
        Path, typer.Argument(help=_("Write .csv, .jsonl or .parquet here."), metavar="FILE")
    ],
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Writes every feedback with the input and the answer it is about."""
    from feilun.cli.output import print_written
    from feilun.wheel.exchange import export_feedback

    with open_project(project) as opened:
        count = export_feedback(opened, path)
    print_written(count, path, as_json=as_json)


def queue(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help=_("How many are shown."))] = 20,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints what no level of the cascade was sure enough of, the oldest first."""
    from datetime import UTC, datetime

    from feilun.cli.output import local_time, print_json, print_table
    from feilun.wheel.queue import waiting

    with open_project(project) as opened:
        found = waiting(opened, limit)
    if as_json:
        entries = [one._asdict() for one in found.entries]
        print_json({"waiting": found.waiting, "entries": entries})
        return
    typer.echo(_("waiting for a person: {count:,}").format(count=found.waiting))
    if not found.entries:
        return
    print_table(
        (_("id"), _("asked"), _("input")),
        (
            (one.id, local_time(datetime.fromtimestamp(one.at, UTC).isoformat()), one.input or "–")
            for one in found.entries
        ),
    )
    typer.echo(_("Next:") + "  feilun feedback add PREDICTION_ID correction LABEL")
