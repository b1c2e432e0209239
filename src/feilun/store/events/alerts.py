"""Alerts: signals that stayed loud, until they stayed quiet.

A signal must be loud in several looks in a row before its alert is raised, and quiet in several
before it is cleared (hysteresis): one that wavers around its limit gives no storm. Each alert is
told once when it is raised and once when it is cleared, all alerts of one look in one message,
announced in the transaction that writes them down.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import sqlalchemy as sa

from feilun.core.errors import Missing, shortened
from feilun.core.i18n import _
from feilun.store.clock import new_id
from feilun.store.database import Database
from feilun.store.events.outbox import announce

RAISED, CLEARED = "alert.raised", "alert.cleared"
KEEP = 1_000
"""Alerts that are over and can still be looked at."""
_COLUMNS = (
    "id, name, level, value, message, raised_at, seen_at, cleared_at, told_at, acked_at, acked_by"
)


class AlertNotFound(Missing):
    """No open alert has that name or id."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _("There is no open alert '{name}'.").format(name=shortened(name)),
            remedy="feilun alert list",
        )


class Heard(NamedTuple):
    """A signal as it stands in one look; `message` is a `Message` as JSON values."""

    name: str
    loud: bool
    level: str
    value: float
    message: dict[str, Any]


class Patience(NamedTuple):
    """Looks in a row that raise an alert, and that clear one."""

    raise_after: int
    clear_after: int


class AlertRow(NamedTuple):
    """An alert; times in seconds since 1970: raised, last heard loud, cleared (None: open), told,
    and acknowledged by whom. `value` is None where it is no finite number."""

    id: str
    name: str
    level: str
    value: float | None
    message: dict[str, Any]
    raised_at: float
    seen_at: float
    cleared_at: float | None
    told_at: float | None
    acked_at: float | None
    acked_by: str | None


class Silence(NamedTuple):
    """Alerts whose name fits (`*` stands for anything) are not told until then."""

    name: str
    until: float
    by: str
    at: float


class Change(NamedTuple):
    """What one look changed."""

    raised: list[AlertRow]
    cleared: list[AlertRow]


class Alerts:
    """The alerts in `events.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def look(
        self, heard: Sequence[Heard], patience: Patience, now: float, apart: float = 0.0
    ) -> Change | None:
        """What one look at all signals changes, durable and announced; None, and nothing
        written, when the last look was less than `apart` seconds ago.

        A signal that is not heard at all counts as quiet.
        """
        with self._database.write() as connection:
            last = connection.scalar(sa.text("SELECT max(at) FROM alert_looks"))
            if last is not None and 0 <= now - float(last) < apart:
                return None
            opened = {row.name: row for row in _select(connection, "WHERE cleared_at IS NULL")}
            counts = {
                row.name: (row.loud, row.quiet)
                for row in connection.execute(sa.text("SELECT name, loud, quiet FROM alert_looks"))
            }
            by_name = {one.name: one for one in heard}
            raised, cleared = [], []
            connection.execute(sa.text("DELETE FROM alert_looks"))
            for name in sorted({*by_name, *opened}):
                one = by_name.get(name)
                loud, quiet = counts.get(name, (0, 0))
                is_loud = one is not None and one.loud
                loud, quiet = (loud + 1, 0) if is_loud else (0, quiet + 1)
                connection.execute(
                    sa.text("INSERT INTO alert_looks VALUES (:name, :loud, :quiet, :at)"),
                    {"name": name, "loud": loud, "quiet": quiet, "at": now},
                )
                alert = opened.get(name)
                if is_loud and one is not None:
                    if alert is not None:
                        _seen(connection, alert, one, now)
                    elif loud >= patience.raise_after:
                        raised.append(_raise(connection, one, now))
                elif alert is not None and quiet >= patience.clear_after:
                    cleared.append(_clear(connection, alert, now))
            _tell(connection, cleared, now)
            connection.execute(
                sa.text(
                    "DELETE FROM alerts WHERE cleared_at IS NOT NULL AND seq <= (SELECT seq FROM"
                    " alerts WHERE cleared_at IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET :keep)"
                ),
                {"keep": KEEP},
            )
        return Change(raised, cleared)

    def open(self) -> list[AlertRow]:
        """The alerts that are not over, oldest first."""
        with self._database.read() as connection:
            return _select(connection, "WHERE cleared_at IS NULL ORDER BY seq")

    def count(self) -> int:
        """How many alerts are not over."""
        with self._database.read() as connection:
            found = connection.scalar(
                sa.text("SELECT count(*) FROM alerts WHERE cleared_at IS NULL")
            )
        return int(found or 0)

    def latest(self, limit: int = 50) -> list[AlertRow]:
        """The newest alerts, open or over, newest first."""
        with self._database.read() as connection:
            return _select(connection, "ORDER BY seq DESC LIMIT :limit", limit=limit)

    def acknowledge(self, name: str, by: str, now: float) -> list[AlertRow]:
        """Writes down who has taken the open alert with that name or id on, and gives it back;
        `*` stands for anything. It is not told any more. Raises `AlertNotFound`."""
        with self._database.write() as connection:
            opened = _select(connection, "WHERE cleared_at IS NULL ORDER BY seq")
            found = [row for row in opened if row.id == name or fnmatchcase(row.name, name)]
            if not found:
                raise AlertNotFound(name)
            for row in found:
                connection.execute(
                    sa.text("UPDATE alerts SET acked_at = :now, acked_by = :by WHERE id = :id"),
                    {"now": now, "by": by, "id": row.id},
                )
        return [row._replace(acked_at=now, acked_by=by) for row in found]

    def silence(self, name: str, until: float, by: str, now: float) -> Silence:
        """From now until then, alerts whose name fits are not told; one before is replaced."""
        made = Silence(name, until, by, now)
        with self._database.write() as connection:
            connection.execute(
                sa.text("DELETE FROM silences WHERE until <= :now OR name = :name"),
                {"now": now, "name": name},
            )
            if until > now:
                connection.execute(
                    sa.text("INSERT INTO silences VALUES (:name, :until, :by, :at)"),
                    made._asdict(),
                )
        return made

    def silences(self, now: float) -> list[Silence]:
        """The silences that hold now, by name."""
        with self._database.read() as connection:
            return _silences(connection, now)


def _select(connection: sa.Connection, clause: str, **values: Any) -> list[AlertRow]:
    rows = connection.execute(sa.text(f"SELECT {_COLUMNS} FROM alerts {clause}"), values)
    return [
        AlertRow(**{**row, "message": json.loads(row["message"]), "value": _finite(row["value"])})
        for row in rows.mappings()
    ]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _silences(connection: sa.Connection, now: float) -> list[Silence]:
    rows = connection.execute(
        sa.text('SELECT name, until, "by", at FROM silences WHERE until > :now ORDER BY name'),
        {"now": now},
    )
    return [Silence(*row) for row in rows]


def _raise(connection: sa.Connection, heard: Heard, now: float) -> AlertRow:
    alert = AlertRow(
        new_id("alert"), heard.name, heard.level, _finite(heard.value), heard.message, now, now,
        None, None, None, None,
    )  # fmt: skip
    connection.execute(
        sa.text(
            "INSERT INTO alerts (id, name, level, value, message, raised_at, seen_at)"
            " VALUES (:id, :name, :level, :value, :message, :now, :now)"
        ),
        {**alert._asdict(), "message": json.dumps(heard.message, ensure_ascii=False), "now": now},
    )
    return alert


def _seen(connection: sa.Connection, alert: AlertRow, heard: Heard, now: float) -> None:
    connection.execute(
        sa.text(
            "UPDATE alerts SET seen_at = :now, value = :value, message = :message, level = :level"
            " WHERE id = :id"
        ),
        {
            "now": now,
            "value": _finite(heard.value),
            "message": json.dumps(heard.message, ensure_ascii=False),
            "level": heard.level,
            "id": alert.id,
        },
    )


def _clear(connection: sa.Connection, alert: AlertRow, now: float) -> AlertRow:
    connection.execute(
        sa.text("UPDATE alerts SET cleared_at = :now WHERE id = :id"),
        {"now": now, "id": alert.id},
    )
    return alert._replace(cleared_at=now)


def _tell(connection: sa.Connection, cleared: Sequence[AlertRow], now: float) -> None:
    """Announces the open alerts that nobody was told of yet, and the end of those that somebody
    was; a silenced one waits for the end of its silence, or is over before it."""
    silences = _silences(connection, now)

    def silenced(alert: AlertRow) -> bool:
        return any(fnmatchcase(alert.name, silence.name) for silence in silences)

    untold = _select(
        connection, "WHERE cleared_at IS NULL AND told_at IS NULL AND acked_at IS NULL ORDER BY seq"
    )
    begun = [alert for alert in untold if not silenced(alert)]
    over = [alert for alert in cleared if alert.told_at is not None and not silenced(alert)]
    for event, alerts in ((RAISED, begun), (CLEARED, over)):
        if alerts:
            content = {"alerts": [told(alert) for alert in alerts]}
            announce(connection, event, alerts[0].id, now, content)
    for alert in begun:
        connection.execute(
            sa.text("UPDATE alerts SET told_at = :now WHERE id = :id"), {"now": now, "id": alert.id}
        )


def told(alert: AlertRow) -> Mapping[str, Any]:
    """What others are told of an alert."""
    names = ("id", "name", "level", "value", "message", "raised_at", "cleared_at")
    return {name: value for name, value in alert._asdict().items() if name in names}
