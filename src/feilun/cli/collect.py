"""`feilun collect`: read the sources, or look at them first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.cli.turn import turn
from feilun.core.errors import FeilunError, shortened
from feilun.core.i18n import N_, _

if TYPE_CHECKING:
    from feilun.stages.collect.preview import Column, PiecePreview, Preview

_KINDS = {
    "integer": N_("integer"),
    "number": N_("number"),
    "date": N_("date"),
    "true/false": N_("true/false"),
    "category": N_("category"),
    "text": N_("text"),
    "list": N_("list"),
    "object": N_("object"),
    "empty": N_("empty"),
}
_COLUMNS = {
    "text": N_("text"),
    "label": N_("label"),
    "group": N_("group"),
    "time": N_("time"),
    "spans": N_("spans"),
    "fields": N_("fields"),
}


def register(app: App) -> None:
    """Adds the command."""
    app.command("collect", help=_("Read the sources and the feedback: sources → raw records."))(
        collect
    )


def collect(
    preview: Annotated[
        bool,
        typer.Option("--preview", help=_("Only show columns, types and first records.")),
    ] = False,
    show: Annotated[
        int, typer.Option(min=1, max=1_000, help=_("With --preview: how many records."))
    ] = 10,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """A turn as far as `collect`; or, with --preview, what the sources hold: nothing is written."""
    if not preview:
        turn("collect", project, as_json)
        return
    from feilun.cli.output import print_json
    from feilun.stages.collect.preview import preview as look

    shown: list[dict[str, Any]] = []
    failed: FeilunError | None = None
    with open_project(project) as opened:
        for number, source in enumerate(opened.settings.collect.sources, start=1):
            found: Preview | FeilunError
            try:
                found = look(source, opened.root, show)
            except FeilunError as error:
                # The other sources are shown all the same.
                failed = failed or error
                found = error
            if as_json:
                shown.append({"use": source.use, **_as_json(found)})
            else:
                _print(number, source.use, found)
    if as_json:
        print_json({"sources": shown})
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _as_json(found: Preview | FeilunError) -> dict[str, Any]:
    if isinstance(found, FeilunError):
        said = {"code": found.code, "message": found.message, "remedy": found.remedy}
        return {"error": said}
    pieces = [
        {
            **piece._asdict(),
            "columns": [column._asdict() for column in piece.columns],
            "shown": [bad._asdict() for bad in piece.shown],
        }
        for piece in found.pieces
    ]
    return {"pieces": pieces, "more": found.more}


def _print(number: int, use: str, found: Preview | FeilunError) -> None:
    if number > 1:
        typer.echo()
    typer.secho(_("Source {number}: {use}").format(number=number, use=use), bold=True)
    if isinstance(found, FeilunError):
        typer.secho(_("Error: "), fg="red", bold=True, nl=False)
        typer.echo(found.message)
        if found.remedy:
            typer.secho("  → " + found.remedy, fg="cyan")
        return
    for piece in found.pieces:
        typer.echo()
        _print_piece(piece)
    if found.more:
        typer.echo()
        typer.echo(
            _("There is more: only the first {count} are shown.").format(count=len(found.pieces))
        )


def _print_piece(piece: PiecePreview) -> None:
    from feilun.cli.output import print_table

    typer.secho(piece.name, fg="cyan", nl=False)
    typer.echo("  " + " · ".join(piece.details.values()))
    if piece.columns:
        typer.echo()
        print_table(
            [_("column"), _("type"), _("empty"), _("becomes"), _("for example")],
            (
                [
                    shortened(column.name, 30),
                    _kind(column),
                    f"{column.empty:.0%}" if column.empty else "",
                    column.becomes or "–",
                    shortened(column.example, 40),
                ]
                for column in piece.columns
            ),
        )
    if piece.records:
        typer.echo()
        kept = [name for name in _COLUMNS if any(row[name] is not None for row in piece.records)]
        print_table(
            [_("row"), *(_(_COLUMNS[name]) for name in kept)],
            (
                [str(row["row"]), *(_cell(name, row[name]) for name in kept)]
                for row in piece.records
            ),
        )
    _print_unreadable(piece)


def _print_unreadable(piece: PiecePreview) -> None:
    from feilun.wheel.describe import reason_name

    if not piece.unreadable:
        return
    typer.echo()
    counts = _(", ").join(
        f"{reason_name(reason)} {count:,}" for reason, count in piece.unreadable.items()
    )
    typer.secho(_("Could not be read so far: {counts}").format(counts=counts), fg="yellow")
    for bad in piece.shown[:3]:
        typer.echo(
            "  "
            + _("row {row}: {reason}").format(row=bad.row, reason=reason_name(bad.reason))
            + f"  {shortened(bad.excerpt, 60)}"
        )


def _kind(column: Column) -> str:
    name = _(_KINDS[column.kind])
    if column.kind == "category":
        name = _("category of {count:,}").format(count=column.num_values)
    elif column.kind == "text":
        name = _("text, {length:,.0f} characters").format(length=column.length)
    if column.num_unlike:
        name = _("{kind}, {count:,} unlike").format(kind=name, count=column.num_unlike)
    return name


def _cell(name: str, value: Any) -> str:
    """A cell of a record, short enough for a table."""
    import json
    from collections import Counter

    if value is None:
        return ""
    if name == "spans":
        counts = Counter(span["label"] for span in value)
        return shortened(" ".join(f"{label}×{count}" for label, count in counts.items()), 40)
    if name == "time":
        return f"{value:%Y-%m-%d %H:%M}"
    if name == "fields":
        return shortened(json.dumps(value, ensure_ascii=False), 60)
    return shortened(value.replace("\n", " ⏎ "), 60 if name == "text" else 24)
