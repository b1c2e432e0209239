"""Answers that a repeated request gets again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import sqlalchemy as sa

KEPT_SECONDS = 24 * 3600.0
_REMOVED_AT_ONCE = 1000
_INSERT = sa.text(
    "INSERT INTO answers (id, body, response, at) VALUES (:id, :body, :response, :at)"
)
_ITS_OWN = sa.text("DELETE FROM answers WHERE id = :id AND at < :before")
_EXPIRED = sa.text(
    "DELETE FROM answers WHERE id IN"
    " (SELECT id FROM answers WHERE at < :before ORDER BY at LIMIT :limit)"
)


class AnswerRow(NamedTuple):
    """What was answered: `id` is the digest of the request's name, `body` that of its body,
    `at` in seconds since 1970. It is given again for `KEPT_SECONDS`."""

    id: str
    body: str
    response: bytes
    at: float

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them and removes the expired; an id that is there already is an
        `IntegrityError`, so that what comes with it is not written twice."""
        for row in rows:
            before = row.at - KEPT_SECONDS
            connection.execute(_ITS_OWN, {"id": row.id, "before": before})
            connection.execute(_INSERT, row._asdict())
        remove_expired(connection, max(row.at for row in rows))
        return [row.id for row in rows]


def remove_expired(connection: sa.Connection, now: float) -> int:
    """How many answers were older than they are kept, and are gone; a thousand at a time."""
    values = {"before": now - KEPT_SECONDS, "limit": _REMOVED_AT_ONCE}
    return connection.execute(_EXPIRED, values).rowcount


def find_answer(connection: sa.Connection, identity: str, now: float) -> AnswerRow | None:
    """The answer with that id, unless it has expired."""
    row = connection.execute(
        sa.text("SELECT id, body, response, at FROM answers WHERE id = :id AND at >= :after"),
        {"id": identity, "after": now - KEPT_SECONDS},
    ).first()
    return None if row is None else AnswerRow(row.id, row.body, row.response, row.at)
