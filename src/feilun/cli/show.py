"""`feilun show REF`: one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("show", help=_("Show an artifact: model/live, dataset/3, report/latest …"))(show)


def show(
    ref: Annotated[str, typer.Argument(help=_("KIND/NAME"), metavar="REF")],
    to: Annotated[
        Path | None, typer.Option(help=_("Lay its files out in this folder, each checked."))
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints what it is, how it was made and what it cost."""
    from feilun.cli.output import local_time, print_json, print_table
    from feilun.core.artifacts import Model, Report
    from feilun.wheel.describe import describe, energy, figure, metric_name
    from feilun.wheel.erasing_files import erased_of

    with open_project(project) as opened:
        stored = opened.stored(ref)
        artifact = stored.artifact
        erased = erased_of(opened, artifact)
        if to is not None:
            opened.blobs.unpack(artifact.files, to)
    if as_json:
        print_json(
            {
                "ref": f"{artifact.kind}/{stored.number}",
                "digest": artifact.digest,
                "stage": stored.stage,
                "created_at": stored.created_at,
                "inputs": stored.inputs,
                "cost": stored.cost.model_dump(),
                "erased": erased,
                "code": stored.code,
                **artifact.model_dump(mode="json"),
            }
        )
        return
    typer.secho(f"{artifact.kind}/{stored.number}", bold=True, nl=False)
    typer.echo(f"  {artifact.digest}")
    typer.echo(describe(artifact))
    for receipt in erased:
        typer.secho(
            _("rows of it were erased ({receipt}); it cannot be made again").format(
                receipt=receipt
            ),
            fg="yellow",
        )
    typer.echo(
        _("made by {stage} on {at} in {seconds:.1f} s, code {code}").format(
            stage=stored.stage,
            at=local_time(stored.created_at),
            seconds=stored.cost.seconds,
            code=stored.code,
        )
    )
    if stored.cost.energy_wh:
        typer.echo(energy(stored.cost))
    if isinstance(artifact, Report):
        typer.echo()
        print_table(
            [_("figure"), _("value and interval")],
            [[metric_name(name), figure(value)] for name, value in artifact.metrics.items()],
        )
        if artifact.per_label:
            typer.echo()
            print_table(
                [_("label"), _("precision"), _("recall"), "F1"],
                [
                    [label, *(figure(found[name]) for name in ("precision", "recall", "f1"))]
                    for label, found in artifact.per_label.items()
                ],
            )
    if isinstance(artifact, Model):
        typer.echo(str(artifact.chosen_because or ""))
        typer.echo()
        print_table(
            [_("tried"), _("validation"), _("why not")],
            [
                [
                    candidate.architecture,
                    "" if candidate.score is None else f"{candidate.score:.3f}",
                    str(candidate.left_out or ""),
                ]
                for candidate in artifact.candidates
            ],
        )
    typer.echo()
    print_table([_("file"), "sha256"], [[n, d[:16]] for n, d in artifact.files.items()])
    if to is not None:
        typer.echo(_("The files are in {path}.").format(path=to))
