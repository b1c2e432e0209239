"""Who used how much: the stored usage, with the keys it belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from feilun.store.events import DayUsage
from feilun.store.events.usage import last_uses, read_usage
from feilun.team import Key, Limits
from feilun.wheel.predictions import LOCAL_KEY

if TYPE_CHECKING:
    from feilun.wheel.project import Project

_AMOUNTS = ("requests", "predictions", "characters", "tokens", "cost")


class KeyUsage(NamedTuple):
    """What one key used: its id and name, whether it still opens, the sum of its `days`, and of
    what it may use in a calendar month (UTC) what is left; None where there is no limit.

    `characters` of the inputs, `tokens` where another server counted them, `cost` in the
    project's currency; `last_used` in seconds since 1970, to the minute.
    """

    key: str
    name: str
    open: bool
    requests: int
    predictions: int
    characters: int
    tokens: int
    cost: float
    left: int | None
    cost_left: float | None
    last_used: float | None
    days: list[DayUsage]

    def shown(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        days = [day._asdict() for day in self.days]
        for day in days:
            del day["key"]
        return {**self._asdict(), "days": days}


def usage(project: Project, since: date | None, key: str | None) -> list[KeyUsage]:
    """See `Project.usage`."""
    this_month = f"{datetime.now(UTC):%Y-%m-01}"
    first = this_month if since is None else since.isoformat()
    with project.events.database.read() as connection:
        days = read_usage(connection, min(first, this_month), key)
        uses = last_uses(connection)
    known = {one.id: one for one in project.keys.all() if key in {None, one.id}}
    of: dict[str, list[DayUsage]] = {identity: [] for identity in known}
    for day in days:
        of.setdefault(day.key, []).append(day)
    return [
        _key_usage(
            known.get(identity) or _nobody(identity),
            [day for day in own if day.day >= first],
            [day for day in own if day.day >= this_month],
            uses.get(identity),
        )
        for identity, own in of.items()
    ]


def _key_usage(
    key: Key, days: list[DayUsage], month: list[DayUsage], last_used: float | None
) -> KeyUsage:
    limits, used = key.limits, _sums(month)
    left = None if limits.monthly is None else max(0, limits.monthly - used["predictions"])
    cost_left = None
    if limits.monthly_cost is not None:
        cost_left = max(0.0, limits.monthly_cost - used["cost"])
    moment = datetime.now(UTC).isoformat(timespec="microseconds")
    return KeyUsage(
        key=key.id,
        name=key.name,
        open=key.open(moment),
        **_sums(days),
        left=left,
        cost_left=cost_left,
        last_used=last_used,
        days=days,
    )


def _sums(days: Iterable[DayUsage]) -> dict[str, Any]:
    listed = list(days)
    sums = {name: sum(getattr(day, name) for day in listed) for name in _AMOUNTS}
    return sums | {"cost": math.fsum(day.cost for day in listed)}


def _nobody(identity: str) -> Key:
    """What was asked on this machine without a key, or by a key of another project's database."""
    return Key(identity, "" if identity != LOCAL_KEY else LOCAL_KEY, frozenset(), "", None, None,
               Limits())  # fmt: skip
