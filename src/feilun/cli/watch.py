"""A turn, watched in a terminal: a line per finished stage, a bar for the one at work."""

from __future__ import annotations

from itertools import pairwise
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from feilun.core.artifacts import Cost
from feilun.core.i18n import _

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


BLOCKS = "▁▂▃▄▅▆▇█"


class Watch:
    """An observer for one command; says nothing on the way when nobody is there to read."""

    def __init__(self, *, quiet: bool = False) -> None:
        from feilun.cli.output import console

        self._out = console(err=True)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._losses: list[float] = []
        self.shown = self._out.is_terminal and not quiet
        """Whether the stages' lines are printed as they end."""

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()

    def stage_began(self, stage: str) -> None:
        """Shows its bar."""
        if not self.shown:
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        from feilun.wheel.describe import stage_name

        self._clear()
        self._losses.clear()
        self._progress = Progress(
            TextColumn("  {task.description:<10}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} % {task.fields[what]}"),
            TextColumn("{task.fields[curve]}", style="cyan"),
            TimeElapsedColumn(),
            console=self._out,
            transient=True,
        )
        self._task = self._progress.add_task(stage_name(stage), total=None, what="", curve="")
        self._progress.start()

    def progressed(self, stage: str, done: float, total: float, what: str) -> None:
        """Moves its bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, what=what)

    def said(self, stage: str, message: str) -> None:
        """Prints the sentence above the bar."""
        if self._progress is not None:
            self._progress.console.print(f"    {message}", style="dim", markup=False)

    def logged(self, stage: str, metric: str, value: float, step: int) -> None:
        """Draws the loss as it falls, behind the bar."""
        if self._progress is None or self._task is None or metric not in {"loss", "mlm_loss"}:
            return
        self._losses.append(value)
        self._progress.update(self._task, curve=sparkline(self._losses))

    def stage_ended(self, stage: str, made: object, cost: Cost, reused: bool) -> None:
        """Prints the line that stays in place of the bar."""
        self._clear()
        if self.shown:
            print_stage(stage, made, cost, reused)

    def _clear(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def sparkline(values: list[float], width: int = 24) -> str:
    """The values as `█▆▄▃▂▁ 0.412`: means of at most `width` stretches, then the last value."""
    count = min(width, len(values))
    ends = [len(values) * at // count for at in range(count + 1)]
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(ends)]
    least, most = min(means), max(means)
    span = (most - least) or 1.0
    blocks = "".join(BLOCKS[int((mean - least) / span * (len(BLOCKS) - 1))] for mean in means)
    return f"{blocks} {values[-1]:.3f}"


def print_stage(stage: str, made: object, cost: Cost, reused: bool) -> None:
    """`✓ prepare   17,312 of 35,124 kept …   0.7 s`"""
    from feilun.core.artifacts import Verdict
    from feilun.wheel.describe import describe, stage_name

    refused = isinstance(made, Verdict) and not made.released
    typer.secho("✗ " if refused else "✓ ", fg="red" if refused else "green", nl=False)
    name = stage_name(stage)
    typer.echo(name + " " * max(1, 10 - _width(name)), nl=False)
    typer.echo(describe(made), nl=False)
    took = _("unchanged") if reused else f"{cost.seconds:.1f} s"
    typer.secho(f"  {took}", dim=True)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
