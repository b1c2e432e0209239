"""How projects and turns look in a notebook."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from feilun.core.artifacts import Interval
from feilun.core.i18n import _

if TYPE_CHECKING:
    from feilun.wheel.project import Project
    from feilun.wheel.turn import Turn


def project_html(project: Project) -> str:
    """A table of the newest turns under the project's name."""
    release = project.release
    live = (
        _("live: {architecture} {digest} since {since}").format(
            architecture=release.model.architecture,
            digest=release.model.short,
            since=release.since[:19],
        )
        if release
        else _("nothing live yet")
    )
    head = f"<h3>{escape(project.settings.project.name)}</h3><p>{escape(live)}</p>"
    return head + _table(project.turns(10))


def turn_html(turn: Turn) -> str:
    """The turn as a table of one row."""
    return _table([turn])


def shown(figure: Interval) -> str:
    """A figure with its interval: `0.841 [0.823, 0.860]`."""
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _table(turns: list[Turn]) -> str:
    names = (_("turn"), _("architecture"), _("accuracy"), _("released"), _("reason"), _("seconds"))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = ""
    for turn in turns:
        accuracy = shown(turn.report.metrics["accuracy"]) if turn.report else ""
        released = {None: turn.status, True: _("yes"), False: _("no")}[
            turn.verdict.released if turn.verdict else None
        ]
        cells = (
            str(turn.number),
            turn.model.architecture if turn.model else "",
            accuracy,
            released,
            "; ".join(str(r) for r in turn.verdict.reasons) if turn.verdict else "",
            f"{turn.seconds:.1f}",
        )
        rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
