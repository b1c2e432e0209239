"""Usage: what each key was given, per day; counted in the transaction that stores what it counts.

So the figures equal the stored rows after any crash, and stay when retention deletes the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from feilun.store.database import driver

_CHARGE = (
    "INSERT INTO usage (key, day, requests, predictions, characters, tokens, cost)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (key, day) DO UPDATE SET requests = requests + excluded.requests,"
    " predictions = predictions + excluded.predictions,"
    " characters = characters + excluded.characters,"
    " tokens = tokens + excluded.tokens, cost = cost + excluded.cost"
)
_USE = sa.text(
    "INSERT INTO key_uses (key, at) VALUES (:key, :at)"
    " ON CONFLICT (key) DO UPDATE SET at = max(at, excluded.at)"
)


class Charge(NamedTuple):
    """What one event costs its key: `request` groups the events that came in one request; `at`
    in seconds since 1970, `cost` in the project's currency.

    A charge is an event too, for what is answered and not stored (embeddings).
    """

    key: str
    at: float
    request: str
    predictions: int = 0
    characters: int = 0
    tokens: int = 0
    cost: float = 0.0

    def charge(self) -> Charge:
        """Itself."""
        return self

    @classmethod
    def insert(cls, _connection: sa.Connection, _rows: Sequence[Self]) -> list[str]:
        """Writes nothing: charges are written for the whole group, by `add_charges`."""
        return []


class DayUsage(NamedTuple):
    """What one key used on one day (`YYYY-MM-DD`, UTC)."""

    key: str
    day: str
    requests: int
    predictions: int
    characters: int
    tokens: int
    cost: float


class KeyUse(NamedTuple):
    """A key was used at `at` (seconds since 1970), whatever for."""

    key: str
    at: float

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Remembers the latest use; nobody refers to it, so it has no id."""
        connection.execute(_USE, [row._asdict() for row in rows])
        return []


def add_charges(connection: sa.Connection, events: Iterable[object]) -> None:
    """Adds what the events cost to the usage of their keys, in the transaction of `connection`.

    An event that somebody pays for has a method `charge`, which says whom and how much (None:
    nobody was answered with it). Called once for all events of a commit, so that 64 requests of
    one key are one row written; a request counts once, however many events of it are in it.
    """
    sums: dict[tuple[str, str], list[Any]] = {}
    requests: set[str] = set()
    day_of = _Days()
    for event in events:
        asked = getattr(event, "charge", None)
        one: Charge | None = asked() if asked is not None else None
        if one is None:
            continue
        total = sums.setdefault((one.key, day_of(one.at)), [0, 0, 0, 0, 0.0])
        if one.request not in requests:
            requests.add(one.request)
            total[0] += 1
        total[1] += one.predictions
        total[2] += one.characters
        total[3] += one.tokens
        total[4] += one.cost
    if sums:
        rows = [(key, day, *total) for (key, day), total in sums.items()]
        driver(connection).executemany(_CHARGE, rows)


class _Days:
    """Days by time; the events of a commit are nearly always of one day."""

    def __init__(self) -> None:
        self._day, self._number = "", -1

    def __call__(self, at: float) -> str:
        number = int(at // 86400)
        if number != self._number:
            self._day, self._number = day_of(at), number
        return self._day


def day_of(at: float) -> str:
    """The day (UTC) of a time in seconds since 1970."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")


def read_usage(connection: sa.Connection, since: str, key: str | None = None) -> list[DayUsage]:
    """The usage from the day `since` on, of one key or all, by day and key."""
    one = " AND key = :key" if key is not None else ""
    rows = connection.execute(
        sa.text(f"SELECT * FROM usage WHERE day >= :since{one} ORDER BY day, key"),
        {"since": since, "key": key} if key is not None else {"since": since},
    )
    return [DayUsage(**row) for row in rows.mappings()]


def last_uses(connection: sa.Connection) -> dict[str, float]:
    """When each key was last used, in seconds since 1970, to the minute."""
    rows = connection.execute(sa.text("SELECT key, at FROM key_uses"))
    return {row.key: float(row.at) for row in rows}
