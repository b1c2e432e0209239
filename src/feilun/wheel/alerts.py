"""Signals that stay loud become alerts, and somebody is told."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.core.message import Message
from feilun.stages.monitor import Level, Signal
from feilun.store.events import storable
from feilun.store.events.alerts import AlertRow, Alerts, Change, Heard, Patience, Silence
from feilun.team import user_name

if TYPE_CHECKING:
    from feilun.wheel.project import Project

_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"([0-9]{1,6})\s*([smhd])")
LONGEST_DAYS = 365


class DurationInvalid(Invalid):
    """A stretch of time is none, or too long."""

    def __init__(self, text: str) -> None:
        super().__init__(
            _("'{text}' is no time such as 30m, 2h or 1d, up to {days} days.").format(
                text=shortened(text), days=LONGEST_DAYS
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


def silence(project: Project, name: str, duration: str, by: str | None = None) -> Silence:
    """From now on, for so long, alerts whose name fits (`*` stands for anything) are not told;
    `0s` ends a silence. Raises `DurationInvalid`."""
    now = time.time()
    return alerts(project).silence(storable(name), now + seconds(duration), by or user_name(), now)


def acknowledge(project: Project, name: str, by: str | None = None) -> list[AlertRow]:
    """The open alerts with that name or id, which somebody has taken on now; raises
    `AlertNotFound`."""
    return alerts(project).acknowledge(storable(name), by or user_name(), time.time())


def seconds(duration: str) -> float:
    """The seconds of `90s`, `30m`, `2h`, `1d`; raises `DurationInvalid`."""
    found = _DURATION.fullmatch(duration.strip().lower())
    long = float(found[1]) * _SECONDS[found[2]] if found else -1.0
    if not 0 <= long <= LONGEST_DAYS * _SECONDS["d"]:
        raise DurationInvalid(duration)
    return long


def shown(alert: AlertRow) -> dict[str, Any]:
    """An alert as JSON values, its message in the reader's language."""
    return {**alert._asdict(), "message": said(alert)}


def said(alert: AlertRow) -> str:
    """What the alert is about, in the reader's language."""
    return str(Message.model_validate(alert.message))
