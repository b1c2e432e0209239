"""`feilun prepare`: a turn as far as the dataset, what it dropped, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.cli.turn import turn
from feilun.core.i18n import N_, _

HELP = N_("Clean, settle and split: raw records → a dataset.")


def register(app: App) -> None:
    """Adds the command."""
    app.command("prepare", help=_(HELP))(prepare)


def prepare(
    dropped: Annotated[
        str | None,
        typer.Option(help=_("Show dropped records: a reason, or all."), metavar="REASON"),
    ] = None,
    show: Annotated[int, typer.Option(min=1, help=_("How many of them."))] = 20,
    report: Annotated[
        bool, typer.Option("--report", help=_("Write what became of the records as a page."))
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(help=_("Where the page goes; reports/dataset-N.html if not given.")),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """A turn as far as `prepare`; or, with --dropped, what the last one dropped."""
    if dropped is not None:
        show_dropped(dropped, show, project, as_json)
        return
    turn("prepare", project, as_json)
    if report or to is not None:
        path = write(project, to)
        if not as_json:
            typer.echo(_("Report: {path}").format(path=path))


def write(project: Path, to: Path | None) -> Path:
    """Writes the report of the newest dataset; returns where."""
    from feilun.console.prepare import write_report

    with open_project(project) as opened:
        number = opened.stored("dataset/latest").number
        path = to or opened.root / "reports" / f"dataset-{number}.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_report(opened, f"dataset/{number}", path)
    return path


def show_dropped(reason: str, show: int, project: Path, as_json: bool) -> None:
    """Prints the dropped records of one reason, or of all."""
    from feilun.cli.output import print_json, print_table
    from feilun.core.errors import shortened
    from feilun.wheel.describe import reason_name

    with open_project(project) as opened:
        frame = opened.dropped(reason=None if reason == "all" else reason)
        rows = frame.head(show)
        rows = rows.with_columns(opened.shown(rows["text"]).alias("text"))
    shown = rows.to_dicts()
    if as_json:
        print_json({"count": frame.height, "records": shown})
        return
    print_table(
        [_("reason"), _("source"), _("row"), _("label"), _("text"), _("detail")],
        (
            [
                reason_name(r["reason"]),
                r["source"],
                str(r["row"]),
                r["label"] or "",
                shortened(r["text"] or r["fields"] or ""),
                shortened(r["detail"] or "", 40),
            ]
            for r in shown
        ),
    )
    typer.echo(
        _("{shown} of {count:,} dropped records").format(shown=len(shown), count=frame.height)
    )
