"""`feilun demo`: two turns on real reviews, and a third that is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.core.i18n import _


def register(app: App) -> None:
    """Adds the command."""
    app.command("demo", help=_("See the wheel turn on real reviews (a few minutes)."))(demo)


def demo(
    folder: Annotated[Path, typer.Option(help=_("Where to play it."))] = Path("demo"),
    budget: Annotated[
        float, typer.Option(min=1, help=_("Seconds that each training may take."))
    ] = 30.0,
) -> None:
    """Writes report.json; on a terminal the service stays up until Ctrl-C."""
    from feilun.apps.demo import tell
    from feilun.apps.demo.story import Stage
    from feilun.cli.prepare import write
    from feilun.cli.turn import print_turn
    from feilun.cli.watch import Watch

    with Watch() as watch:
        stage = Stage(
            say=typer.echo,
            watch=lambda: watch,
            shown=lambda turn: print_turn(turn, watched=watch.shown),
            reported=lambda root: write(root, None),
        )
        ended = tell(folder, stage, budget_seconds=budget)
    with ended.project:
        gate = ended.report["gate"]
        typer.echo(
            _("The gain: accuracy {delta:+.3f} [{low:+.3f}, {high:+.3f}]. Report: {path}").format(
                **gate, path=folder / "report.json"
            )
        )
        if not sys.stdout.isatty():
            ended.server.stop()
            return
        typer.echo(_("The console: {address}/console").format(address=ended.server.address))
        typer.echo(_("Sign in with the key {key}").format(key=ended.server.key))
        typer.echo(_("Stop with Ctrl-C."))
        try:
            ended.server.wait()
        except KeyboardInterrupt:
            ended.server.stop()
