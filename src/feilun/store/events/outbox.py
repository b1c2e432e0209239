"""The outbox: what other services are to be told, kept until they have said that they know.

A message is written in the transaction of what it tells of (`announce`), so it exists exactly if
that does. What happens in the control database is announced with a cursor over its history, which
moves in the same transaction as the messages it gave. A message leaves the outbox when its
receiver has answered with success: at least once, each time with the same id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from feilun.core.errors import Missing, shortened
from feilun.core.i18n import _
from feilun.store.clock import new_id
from feilun.store.database import Database

WAITING, DELIVERED, DEAD = "waiting", "delivered", "dead"
KEEP_DELIVERED = 1_000
"""Delivered messages of a channel that can still be looked at."""
KEEP_DEAD = 100_000
"""Dead letters of a channel; of more, the oldest are lost, which is counted."""
_COLUMNS = (
    "seq, id, channel, target, event, subject, content, at, since, status, due_at, attempts, error"
)


class DeliveryNotFound(Missing):
    """No dead letter has that id."""

    def __init__(self, identity: str) -> None:
        super().__init__(
            _("There is no dead letter '{id}'.").format(id=shortened(identity)),
            remedy="feilun notify dead",
        )


class Address(NamedTuple):
    """A channel as the settings have it: its name, a digest of where it leads, the events it is
    told of, and how many messages may wait for it."""

    name: str
    target: str
    events: tuple[str, ...]
    backlog: int


class ChannelRow(NamedTuple):
    """A channel's figures: messages that wait, that are dead, that arrived, and that were `lost`
    because too many waited or were dead; when it was last tried (seconds since 1970), and the code
    of what went wrong then (None: it arrived)."""

    name: str
    events: tuple[str, ...]
    waiting: int
    dead: int
    delivered: int
    lost: int
    tried_at: float | None
    error: str | None


class Delivery(NamedTuple):
    """One message for one channel. `subject` is the id of what it tells of, `content` what of it
    is kept here (None: it is read where it stands when the message is sent). In seconds since 1970:
    `at` when that happened, `since` from when on it waits, `due_at` when it is tried next. `error`
    is the code of what went wrong last."""

    seq: int
    id: str
    channel: str
    target: str
    event: str
    subject: str
    content: dict[str, Any] | None
    at: float
    since: float
    status: str
    due_at: float
    attempts: int
    error: str | None


def announce(
    connection: sa.Connection,
    event: str,
    subject: str,
    at: float,
    content: Mapping[str, Any] | None = None,
) -> int:
    """How many channels are to be told of it, once the transaction of `connection` is durable.

    A channel for which too many messages wait is not told; that is counted, and shown.
    """
    told = 0
    for row in connection.execute(
        sa.text("SELECT name, target, events, backlog, waiting FROM channels")
    ).all():
        if event not in json.loads(row.events):
            continue
        full = row.waiting >= row.backlog
        counted = "lost = lost + 1" if full else "waiting = waiting + 1"
        connection.execute(
            sa.text(f"UPDATE channels SET {counted} WHERE name = :name"), {"name": row.name}
        )
        if full:
            continue
        connection.execute(
            sa.text(
                "INSERT INTO deliveries (id, channel, target, event, subject, content, at, since,"
                " status, due_at) VALUES (:id, :channel, :target, :event, :subject, :content, :at,"
                " :at, :status, :at)"
            ),
            {
                "id": new_id("msg"),
                "channel": row.name,
                "target": row.target,
                "event": event,
                "subject": subject,
                "content": None
                if content is None
                else json.dumps(dict(content), ensure_ascii=False),
                "at": at,
                "status": WAITING,
            },
        )
        told += 1
    return told


class Outbox:
    """The messages in `events.db`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_channels(self, addresses: Sequence[Address], now: float) -> None:
        """Makes the channels exactly `addresses`.

        What waits for a channel that is gone, or that now leads elsewhere, becomes a dead letter:
        it is never sent where it was not meant to go, unless `retry` says so.
        """
        wanted = {address.name: address for address in addresses}
        with self._database.write() as connection:
            known = {
                row.name: row.target
                for row in connection.execute(sa.text("SELECT name, target FROM channels"))
            }
            for name in known.keys() - wanted.keys():
                _bury(connection, name, "channel_removed", now)
                connection.execute(sa.text("DELETE FROM channels WHERE name = :n"), {"n": name})
            for name, address in wanted.items():
                if name in known and known[name] != address.target:
                    _bury(connection, name, "channel_moved", now)
                connection.execute(
                    sa.text(
                        "INSERT INTO channels (name, target, events, backlog)"
                        " VALUES (:name, :target, :events, :backlog) ON CONFLICT (name) DO UPDATE"
                        " SET target = excluded.target, events = excluded.events,"
                        " backlog = excluded.backlog"
                    ),
                    {**address._asdict(), "events": json.dumps(address.events)},
                )
            connection.execute(
                sa.text(
                    "UPDATE channels SET waiting = (SELECT count(*) FROM deliveries d"
                    " WHERE d.channel = channels.name AND d.status = :waiting)"
                ),
                {"waiting": WAITING},
            )

    def follow(self, name: str, place: int) -> None:
        """Begins to follow the history `name` at `place`, unless it is followed already."""
        with self._database.write() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO cursors (name, place) VALUES (:name, :place)"
                    " ON CONFLICT (name) DO NOTHING"
                ),
                {"name": name, "place": place},
            )

    def place(self, name: str) -> int:
        """Up to where the history `name` was announced; 0 when it is new here."""
        with self._database.read() as connection:
            found = connection.scalar(
                sa.text("SELECT place FROM cursors WHERE name = :name"), {"name": name}
            )
        return int(found or 0)

    def advance(
        self,
        name: str,
        event: str,
        rows: Iterable[tuple[int, str, float, Mapping[str, Any] | None]],
    ) -> None:
        """Announces rows (place, subject, at, content) of the history `name`, and moves its
        cursor behind them in one transaction; those before the cursor are passed over."""
        with self._database.write() as connection:
            place = int(
                connection.scalar(
                    sa.text("SELECT place FROM cursors WHERE name = :name"), {"name": name}
                )
                or 0
            )
            for there, subject, at, content in sorted(rows, key=lambda row: row[0]):
                if there > place:
                    announce(connection, event, subject, at, content)
                    place = there
            connection.execute(
                sa.text("UPDATE cursors SET place = :place WHERE name = :name"),
                {"name": name, "place": place},
            )

    # Sending

    def next_due(self, channel: str, now: float) -> Delivery | None:
        """The message that has been due the longest; None when none is."""
        found = self._deliveries(
            "WHERE channel = :channel AND status = :status AND due_at <= :now"
            " ORDER BY due_at, seq LIMIT 1",
            channel=channel,
            status=WAITING,
            now=now,
        )
        return found[0] if found else None

    def arrived(self, delivery: Delivery, now: float) -> None:
        """The receiver has said that it knows; of what arrived only the newest is kept."""
        with self._database.write() as connection:
            if not _end(connection, delivery, DELIVERED, None, now):
                return
            connection.execute(
                sa.text(
                    "UPDATE channels SET delivered = delivered + 1, tried_at = :now, error = NULL"
                    " WHERE name = :name"
                ),
                {"now": now, "name": delivery.channel},
            )
            _prune(connection, delivery.channel, DELIVERED, KEEP_DELIVERED)

    def failed(self, delivery: Delivery, error: str, now: float, due_at: float | None) -> None:
        """It did not arrive: to be tried again at `due_at`; None: it is a dead letter now."""
        with self._database.write() as connection:
            connection.execute(
                sa.text("UPDATE channels SET tried_at = :now, error = :error WHERE name = :name"),
                {"now": now, "error": error, "name": delivery.channel},
            )
            if due_at is None:
                _end(connection, delivery, DEAD, error, now)
                lost = _prune(connection, delivery.channel, DEAD, KEEP_DEAD)
                connection.execute(
                    sa.text("UPDATE channels SET lost = lost + :lost WHERE name = :name"),
                    {"lost": lost, "name": delivery.channel},
                )
                return
            connection.execute(
                sa.text(
                    "UPDATE deliveries SET attempts = attempts + 1, error = :error,"
                    " due_at = :due_at WHERE id = :id AND status = :waiting"
                ),
                {"error": error, "due_at": due_at, "id": delivery.id, "waiting": WAITING},
            )

    def forget(self, delivery: Delivery) -> None:
        """Takes a message out whose subject is no more: there is nothing left to tell."""
        with self._database.write() as connection:
            gone = connection.execute(
                sa.text("DELETE FROM deliveries WHERE id = :id AND status = :waiting"),
                {"id": delivery.id, "waiting": WAITING},
            )
            _uncount(connection, delivery.channel, gone.rowcount)

    # Dead letters

    def retry(self, identity: str | None, now: float) -> int:
        """How many dead letters (all, or the one with that id) are to be sent again now, to where
        their channel leads now; those of a channel that is gone stay. Raises `DeliveryNotFound`."""
        one = "" if identity is None else " AND id = :id"
        with self._database.write() as connection:
            changed = connection.execute(
                sa.text(
                    "UPDATE deliveries SET status = :waiting, due_at = :now, since = :now,"
                    " ended_at = NULL, attempts = 0,"
                    " target = (SELECT target FROM channels c WHERE c.name = channel)"
                    " WHERE status = :dead AND channel IN (SELECT name FROM channels)" + one
                ),
                {"waiting": WAITING, "now": now, "dead": DEAD, "id": identity or ""},
            ).rowcount
            connection.execute(
                sa.text(
                    "UPDATE channels SET waiting = (SELECT count(*) FROM deliveries d"
                    " WHERE d.channel = channels.name AND d.status = :waiting)"
                ),
                {"waiting": WAITING},
            )
        if identity is not None and not changed:
            raise DeliveryNotFound(identity)
        return int(changed)

    def dead(self, limit: int = 100) -> list[Delivery]:
        """The newest dead letters, newest first."""
        return self._deliveries(
            "WHERE status = :status ORDER BY seq DESC LIMIT :limit", status=DEAD, limit=limit
        )

    def drop(self, identity: str | None) -> int:
        """How many dead letters (all, or the one with that id) were thrown away; raises
        `DeliveryNotFound`."""
        one = "" if identity is None else " AND id = :id"
        with self._database.write() as connection:
            gone = connection.execute(
                sa.text("DELETE FROM deliveries WHERE status = :dead" + one),
                {"dead": DEAD, "id": identity or ""},
            ).rowcount
        if identity is not None and not gone:
            raise DeliveryNotFound(identity)
        return int(gone)

    # Looking

    def channels(self) -> list[ChannelRow]:
        """Every channel with its figures, by name."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT c.*, (SELECT count(*) FROM deliveries d WHERE d.channel = c.name"
                    " AND d.status = :dead) AS dead FROM channels c ORDER BY c.name"
                ),
                {"dead": DEAD},
            ).all()
        return [
            ChannelRow(
                row.name, tuple(json.loads(row.events)), row.waiting, row.dead, row.delivered,
                row.lost, row.tried_at, row.error,
            )
            for row in rows
        ]  # fmt: skip

    def _deliveries(self, clause: str, **values: Any) -> list[Delivery]:
        with self._database.read() as connection:
            rows = connection.execute(
                sa.text(f"SELECT {_COLUMNS} FROM deliveries {clause}"), values
            ).mappings()
            return [
                Delivery(**{**row, "content": json.loads(row["content"] or "null")}) for row in rows
            ]


def _end(
    connection: sa.Connection, delivery: Delivery, status: str, error: str | None, now: float
) -> bool:
    """Whether it waited until now: another process may have been faster."""
    changed = connection.execute(
        sa.text(
            "UPDATE deliveries SET status = :status, attempts = attempts + 1, error = :error,"
            " ended_at = :now WHERE id = :id AND status = :waiting"
        ),
        {"status": status, "error": error, "now": now, "id": delivery.id, "waiting": WAITING},
    ).rowcount
    _uncount(connection, delivery.channel, changed)
    return bool(changed)


def _prune(connection: sa.Connection, channel: str, status: str, keep: int) -> int:
    """How many of the channel's messages were taken out so that the newest `keep` remain."""
    return connection.execute(
        sa.text(
            "DELETE FROM deliveries WHERE channel = :name AND status = :status AND seq <="
            " (SELECT seq FROM deliveries WHERE channel = :name AND status = :status"
            " ORDER BY seq DESC LIMIT 1 OFFSET :keep)"
        ),
        {"name": channel, "status": status, "keep": keep},
    ).rowcount


def _uncount(connection: sa.Connection, channel: str, count: int) -> None:
    connection.execute(
        sa.text("UPDATE channels SET waiting = waiting - :count WHERE name = :name"),
        {"count": count, "name": channel},
    )


def _bury(connection: sa.Connection, channel: str, error: str, now: float) -> None:
    connection.execute(
        sa.text(
            "UPDATE deliveries SET status = :dead, error = :error, ended_at = :now"
            " WHERE channel = :channel AND status = :waiting"
        ),
        {"dead": DEAD, "error": error, "now": now, "channel": channel, "waiting": WAITING},
    )
