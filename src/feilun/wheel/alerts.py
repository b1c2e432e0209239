"""Signals that stay loud become alerts, and somebody is told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.message import Message
from feilun.stages.monitor import Level, Signal
from feilun.store.events import storable
from feilun.store.events.alerts import AlertRow, Alerts, Change, Heard, Patience, Silence
from feilun.team import user_name

if TYPE_CHECKING:
    from feilun.wheel.project import Project

LONGEST_SECONDS = 365 * 86_400.0
"""Of a silence: one that nobody remembers must end."""


class BadSilence(Invalid):
    """A silence would last longer than it may, or no time at all."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            _("A silence lasts from 0 seconds to {days:.0f} days, not {seconds:g} seconds.").format(
                days=LONGEST_SECONDS / 86_400, seconds=seconds
            ),
            remedy="feilun alert silence NAME 2h",
        )


def alerts(project: Project) -> Alerts:
    """The project's alerts."""
    return Alerts(project.events.database)


def look(
    project: Project,
    *,
    signals: Sequence[Signal] | None = None,
    now: float | None = None,
    apart: float = 0.0,
) -> Change | None:
    """What one look at the signals (None: at those of now) changed; None when the last look was
    less than `apart` seconds ago."""
    settings = project.settings.monitor.alerts
    heard = [
        Heard(
            signal.name,
            signal.level != Level.OK,
            signal.level,
            signal.value,
            signal.message.model_dump(mode="json"),
        )
        for signal in (project.signals() if signals is None else signals)
    ]
    patience = Patience(settings.raise_after, settings.clear_after)
    return alerts(project).look(heard, patience, time.time() if now is None else now, apart)


def silence(project: Project, name: str, seconds: float, by: str | None = None) -> Silence:
    """From now on, for so long, alerts whose name fits (`*` stands for anything) are not told;
    0 ends a silence. Raises `BadSilence`."""
    if not 0 <= seconds <= LONGEST_SECONDS:
        raise BadSilence(seconds)
    now = time.time()
    return alerts(project).silence(storable(name), now + seconds, by or user_name(), now)


def acknowledge(project: Project, name: str, by: str | None = None) -> list[AlertRow]:
    """The open alerts with that name or id, which somebody has taken on now; raises
    `AlertNotFound`."""
    return alerts(project).acknowledge(storable(name), by or user_name(), time.time())


def shown(alert: AlertRow) -> dict[str, Any]:
    """An alert as JSON values, its message in the reader's language."""
    return {**alert._asdict(), "message": said(alert)}


def said(alert: AlertRow) -> str:
    """What the alert is about, in the reader's language."""
    return str(Message.model_validate(alert.message))
