"""`feilun tune`: better settings for a model family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import N_, _

if TYPE_CHECKING:
    from feilun.wheel.tuning import Tuned

HELP = N_("Search for better settings of a model family, on the validation split.")
SHOWN = 10
"""Trials in the table; `--json` has them all."""
_STATES = {
    "scored": N_("scored"),
    "ended early": N_("given up early"),
    "failed": N_("failed"),
}


def register(app: App) -> None:
    """Adds the command."""
    app.command("tune", help=_(HELP))(tune)


def tune(
    family: Annotated[
        str | None,
        typer.Option(
            help=_("Which family; left out: that of train.model."), metavar="ARCHITECTURE"
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=100_000, help=_("How many settings to try in all."))
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, help=_("After which no more is tried this time."))
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help=_("Processes that try at the same time."))
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help=_("Put the best settings into feilun.toml."))
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(help=_("Draw how much each setting decides."), metavar="FILE.svg|FILE.html"),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Tries settings, and prints the best as they would stand in `feilun.toml`."""
    from feilun.cli.output import print_json
    from feilun.cli.watch import Watch
    from feilun.console.importance import check_plot, write_plot
    from feilun.wheel.rewrite import write_model

    if plot is not None:
        check_plot(plot)
    with open_project(project) as opened, Watch(quiet=as_json) as watch:
        found = opened.tune(
            family=family, trials=trials, seconds=seconds, workers=workers, observer=watch
        )
        path = opened.root / "feilun.toml"
    drawn = plot is not None and bool(found.importances)
    if plot is not None and drawn:
        write_plot(found.importances, plot)
    written = write and found.better
    if written:
        write_model(path, found.model)
    if as_json:
        print_json({**found.shown(), "written": written})
        return
    _print(found)
    if drawn:
        typer.echo(_("Written: {path}").format(path=plot))
    elif plot is not None:
        typer.echo(_("Nothing was drawn: too few trials were scored to say what decides."))
    if written:
        typer.echo(_("Written: {path}").format(path=path))
    elif write:
        typer.echo(_("Nothing was written: no trial did better than the settings as they are."))


def _print(found: Tuned) -> None:
    from feilun.cli.output import print_table
    from feilun.tasks.metrics import ERRORS, METRIC_NAMES

    metric = _(METRIC_NAMES[found.metric])
    sign = 1 if found.metric in ERRORS else -1
    rows = sorted(
        found.trials,
        key=lambda one: (one.score is None, sign * (one.score or 0.0), one.number),
    )
    names = list(found.trials[0].settings) if found.trials else []
    print_table(
        [_("trial"), metric, *names, _("seconds"), ""],
        [
            [
                str(one.number),
                "" if one.score is None else f"{one.score:.4f}",
                *(_shown(one.settings[name]) for name in names),
                f"{one.seconds:.1f}",
                one.why or ("" if one.state == "scored" else _(_STATES[one.state])),
            ]
            for one in rows[:SHOWN]
        ],
    )
    typer.echo()
    typer.echo(
        _(
            "{done} of {wanted} trials on {dataset}; settings as they are: {metric} {now:.4f}"
        ).format(
            done=len(found.trials),
            wanted=found.wanted,
            dataset=found.dataset,
            metric=metric,
            now=found.now,
        )
    )
    if len(found.trials) < found.wanted:
        typer.echo(_("The time is up; the same command goes on from here."))
    if found.importances:
        shares = (f"{name} {share:.0%}" for name, share in found.importances.items())
        typer.echo(_("What decides: {shares}").format(shares=_(", ").join(shares)))
    _print_best(found, metric)


def _print_best(found: Tuned, metric: str) -> None:
    best = found.best
    if best is None or best.score is None:
        typer.echo(_("No trial could be scored."))
        return
    if not found.better:
        typer.echo(_("No trial did better than the settings as they are."))
        return
    typer.echo(
        _("best: trial {number}, {metric} {score:.4f}").format(
            number=best.number, metric=metric, score=best.score
        )
    )
    if found.gain is not None:
        typer.echo(
            _(
                "lead over the settings as they are: {delta:+.4f} [{low:+.4f}, {high:+.4f}], "
                "flattered by having been sought on this very split"
            ).format(**found.gain.model_dump())
        )
    typer.echo()
    typer.echo(found.snippet, nl=False)


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
