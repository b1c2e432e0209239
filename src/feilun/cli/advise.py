"""`feilun advise`: what training would bring, before it is paid for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import N_, _

if TYPE_CHECKING:
    from feilun.core.artifacts import Interval
    from feilun.wheel.advise import Advice, Option

HELP = N_("Say whether to train, what, and what more labels would bring, from small probes.")
LABELS_SHOWN = 5
_BASELINES = {
    "trivial": N_("no model"),
    "rule": N_("a rule"),
    "live": N_("the live model"),
}


def register(app: App) -> None:
    """Adds the command."""
    app.command("advise", help=_(HELP))(advise)


def advise(
    family: Annotated[
        list[str] | None,
        typer.Option(
            help=_("Which families to probe; left out: all that can do the task."),
            metavar="ARCHITECTURE",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help=_("For all probes together."))] = 60.0,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Trains families on small parts of the newest dataset, and prints what to expect of each
    with all of it."""
    from feilun.cli.output import print_json
    from feilun.cli.watch import Watch

    with open_project(project) as opened, Watch(quiet=as_json) as watch:
        found = opened.advise(families=family or (), seconds=seconds, observer=watch)
    if as_json:
        print_json(found.shown())
        return
    _print(found)


def _print(found: Advice) -> None:
    from feilun.cli.output import print_table
    from feilun.tasks.metrics import METRIC_NAMES

    metric = _(METRIC_NAMES[found.metric])
    typer.echo(
        _("{dataset}: {train:,} records to learn from, {asked:,} to judge by").format(
            dataset=found.dataset, train=found.num_train, asked=found.num_asked
        )
    )
    typer.echo()
    print_table(
        [
            _("family"),
            _("expected {metric}").format(metric=metric),
            _("twice the labels"),
            _("training"),
            _("memory"),
            _("one text"),
            _("texts/s"),
            _("core hours per million"),
            _("on disk"),
            "",
        ],
        [
            *([_(_BASELINES[one.kind]), _quality(one.quality), *[""] * 7, str(one.what)]
              for one in found.baselines),
            *(_row(option) for option in found.options),
        ],
    )  # fmt: skip
    typer.echo()
    for reason in found.reasons:
        typer.echo(f"• {reason}")
    if len(found.labels) > 1:
        typer.echo()
        print_table(
            [_("label"), _("records"), _("found"), _("more"), metric],
            [
                [
                    one.label,
                    f"{one.have:,}",
                    f"{one.recall:.0%}",
                    f"+{one.more}",
                    f"{one.gain:+.3f}",
                ]
                for one in found.labels[:LABELS_SHOWN]
            ],
        )
    if found.snippet:
        typer.echo()
        typer.echo(found.snippet, nl=False)


def _row(option: Option) -> list[str]:
    return [
        option.family,
        _quality(option.quality),
        "" if option.doubled is None else f"{option.doubled.value:.3f}",
        _seconds(option.seconds),
        _shown(option.memory_mb, "{:,.0f} MB"),
        _shown(option.latency_ms, "{:.2f} ms"),
        _shown(option.texts_per_second, "{:,.0f}"),
        _shown(option.core_hours, "{:.2g}"),
        _shown(option.size_mb, "{:,.1f} MB"),
        "" if option.note is None else str(option.note),
    ]


def _quality(found: Interval | None) -> str:
    return "" if found is None else f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _shown(value: float | None, template: str) -> str:
    return "" if value is None else template.format(value)


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
