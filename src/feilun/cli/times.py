"""Durations and days as people write them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([0-9]{1,9})\s*([smhdw])")
_LONGEST_SECONDS = 100 * 366 * 86400


class BadTime(Invalid):
    """The text is neither a duration nor a day."""

    def __init__(self, text: str, example: str) -> None:
        super().__init__(
            _("'{text}' is no time that is understood; for example: {example}.").format(
                text=shortened(text), example=example
            ),
            remedy=_("Write durations as 90d (s, m, h, d, w), days as 2027-01-31."),
        )


def duration_seconds(text: str) -> float:
    """The seconds of `24h`, `90d`, `0s`; raises `BadTime`."""
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = int(found[1]) * _SECONDS[found[2]] if found else -1
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise BadTime(text, "24h")
    return float(seconds)


def day(text: str) -> date:
    """The day of `2027-01-31`; raises `BadTime`."""
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError:
        raise BadTime(text, "2027-01-31") from None


def moment(text: str) -> str:
    """The time, ISO 8601 in UTC, that is `90d` from now, or with which the day `2027-01-31`
    begins; raises `BadTime`, also where it is not in the future."""
    now = datetime.now(UTC)
    if _DURATION.fullmatch(text.strip().lower()):
        then = now + timedelta(seconds=duration_seconds(text))
    else:
        then = datetime.combine(day(text), datetime.min.time(), UTC)
    if then <= now:
        raise BadTime(text, "90d")
    return then.isoformat(timespec="microseconds")
