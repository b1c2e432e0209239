"""What waits for a person: predictions that no level of a cascade was sure enough of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from feilun.stages.serve import PERSON

if TYPE_CHECKING:
    from feilun.wheel.project import Project

SHOWN = 100
_READABLE = frozenset({"full", "masked", "vault"})
_OPEN = (
    "FROM predictions p WHERE p.reason = 'person' AND NOT EXISTS (SELECT 1 FROM feedback f"
    " WHERE f.prediction = p.id AND f.kind IN ('correction', 'outcome'))"
)
assert PERSON == "person"


class Open(NamedTuple):
    """A prediction without an answer: its id, when it was asked (seconds since 1970), its input
    (None where the log keeps no readable text) and the model that was not sure enough."""

    id: str
    at: float
    input: str | None
    model: str


class Queue(NamedTuple):
    """How many wait, and those that have waited longest."""

    waiting: int
    entries: list[Open]


def waiting(project: Project, limit: int = SHOWN) -> Queue:
    """The queue; an ordinary `correction` (or `outcome`) takes its prediction off it."""
    log = project.events
    with log.database.read() as connection:
        count = int(connection.scalar(sa.text(f"SELECT count(*) {_OPEN}")) or 0)
        rows = connection.execute(
            sa.text(f"SELECT p.id, p.at, p.input, p.kept, p.model {_OPEN} ORDER BY p.seq LIMIT :n"),
            {"n": limit},
        ).mappings()
        found = log.vault.open(connection, [dict(row) for row in rows], "input", "id", "kept")
    return Queue(count, [_entry(row) for row in found])


def _entry(row: dict[str, Any]) -> Open:
    readable = row["kept"] in _READABLE
    return Open(row["id"], row["at"], row["input"] if readable else None, row["model"])
