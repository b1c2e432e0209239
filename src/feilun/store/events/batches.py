"""Batches: many inputs handed over at once, worked off later, piece by piece.

A piece's results and the predictions they tell of are written in one transaction, so that after
a crash neither is there without the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from feilun.core.errors import Missing, Throttled, shortened
from feilun.core.i18n import _
from feilun.store.database import Database
from feilun.store.events.outbox import announce

QUEUED, RUNNING = "queued", "running"
COMPLETED, CANCELLED, FAILED = "completed", "cancelled", "failed"
STATES = (QUEUED, RUNNING, COMPLETED, CANCELLED, FAILED)
_OPEN = f"state IN ('{QUEUED}', '{RUNNING}')"
_COLUMNS = "id, key, at, task, lines, bytes, digest, state, done, errors, started, ended"


class TooManyBatches(Throttled):
    """The key has as many unfinished batches as it may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            _(
                "This key has {limit} unfinished batches already; [serve] max_batches sets the "
                "limit."
            ).format(limit=limit),
            remedy=_("Wait until one of them has ended, or cancel it."),
        )


class BatchNotFound(Missing):
    """The key has no batch with that id."""

    def __init__(self, identity: str) -> None:
        super().__init__(
            _("This key has no batch '{id}'.").format(id=shortened(identity)),
            remedy="GET /v1/batches",
        )


class Batch(NamedTuple):
    """A batch as it stands. `lines` and `bytes` of the input, whose sha256 is `digest`; `done`
    lines were answered, `errors` of them with an error; times in seconds since 1970 (UTC)."""

    id: str
    key: str
    at: float
    task: str
    lines: int
    bytes: int
    digest: str
    state: str = QUEUED
    done: int = 0
    errors: int = 0
    started: float | None = None
    ended: float | None = None

    @property
    def open(self) -> bool:
        """Whether it is still to be worked on."""
        return self.state in {QUEUED, RUNNING}

    def shown(self) -> dict[str, Any]:
        """The batch as JSON values, as the API answers it and others are told of it: without its
        key, and without the digest of its input."""
        return {
            "id": self.id,
            "object": "batch",
            "task": self.task,
            "status": self.state,
            "created_at": self.at,
            "started_at": self.started,
            "ended_at": self.ended,
            "lines": {"total": self.lines, "done": self.done, "failed": self.errors},
            "input_bytes": self.bytes,
        }


class BatchAdded(NamedTuple):
    """A new batch, of which its key may have at most `most` unfinished."""

    batch: Batch
    most: int

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them; their ids. Raises `TooManyBatches`."""
        for row in rows:
            count = connection.scalar(
                sa.text(f"SELECT count(*) FROM batches WHERE key = :key AND {_OPEN}"),
                {"key": row.batch.key},
            )
            if int(count or 0) >= row.most:
                raise TooManyBatches(row.most)
            names = _COLUMNS.replace(", ", ", :")
            connection.execute(
                sa.text(f"INSERT INTO batches ({_COLUMNS}) VALUES (:{names})"),
                row.batch._asdict(),
            )
        return [row.batch.id for row in rows]


class BatchPiece(NamedTuple):
    """The results of the lines from number `place` (from 0, those without content not counted)
    on: `content` is JSON Lines. A second piece at the same place is refused by the database
    (`IntegrityError`), so that two processes cannot both have worked on it."""

    batch: str
    place: int
    lines: int
    errors: int
    content: str

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them; nobody refers to them, so they have no ids."""
        for row in rows:
            connection.execute(
                sa.text(
                    "INSERT INTO batch_results (batch, place, content)"
                    " VALUES (:batch, :place, :content)"
                ),
                {"batch": row.batch, "place": row.place, "content": row.content},
            )
            connection.execute(
                sa.text(
                    "UPDATE batches SET done = done + :lines, errors = errors + :errors,"
                    f" started = coalesce(started, :now), state = CASE WHEN {_OPEN} THEN"
                    f" '{RUNNING}' ELSE state END WHERE id = :batch"
                ),
                {**row._asdict(), "now": time.time()},
            )
        return []


class BatchEnded(NamedTuple):
    """A batch has come to its end, with the state `state`; one that had ended stays as it was."""

    batch: str
    state: str
    at: float

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them."""
        for row in rows:
            ended = connection.execute(
                sa.text(
                    f"UPDATE batches SET state = :state, ended = :at WHERE id = :batch AND {_OPEN}"
                ),
                row._asdict(),
            )
            if ended.rowcount:
                announce(connection, "batch.done", row.batch, row.at)
        return []


class BatchForgotten(NamedTuple):
    """Every batch that ended before `before` is forgotten, with its results."""

    before: float

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Deletes them."""
        for row in rows:
            old = "SELECT id FROM batches WHERE ended < :before"
            connection.execute(
                sa.text(f"DELETE FROM batch_results WHERE batch IN ({old})"), row._asdict()
            )
            connection.execute(sa.text("DELETE FROM batches WHERE ended < :before"), row._asdict())
        return []


class Batches:
    """The batches in an event log, to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, key: str, limit: int = 100) -> list[Batch]:
        """The newest batches of a key, newest first."""
        return self._select("WHERE key = :key ORDER BY at DESC LIMIT :limit", key=key, limit=limit)

    def get(self, identity: str, key: str) -> Batch:
        """A batch of the key; raises `BatchNotFound`."""
        found = self._select("WHERE id = :id AND key = :key", id=identity, key=key)
        if not found:
            raise BatchNotFound(identity)
        return found[0]

    def open(self) -> list[Batch]:
        """Every batch that is to be worked on, oldest first."""
        return self._select(f"WHERE {_OPEN} ORDER BY at, id")

    def known(self, identity: str) -> Batch | None:
        """A batch of whatever key; None where there is none."""
        found = self._select("WHERE id = :id", id=identity)
        return found[0] if found else None

    def results(self, identity: str) -> Iterator[str]:
        """The results of a batch so far, in the order of its lines: JSON Lines, a piece at a
        time, so that memory does not grow with the batch."""
        place = -1
        while True:
            with self._database.read() as connection:
                row = connection.execute(
                    sa.text(
                        "SELECT place, content FROM batch_results"
                        " WHERE batch = :batch AND place > :place ORDER BY place LIMIT 1"
                    ),
                    {"batch": identity, "place": place},
                ).first()
            if row is None:
                return
            place = int(row.place)
            yield str(row.content)

    def _select(self, clause: str, **values: str | int) -> list[Batch]:
        with self._database.read() as connection:
            rows = connection.execute(sa.text(f"SELECT {_COLUMNS} FROM batches {clause}"), values)
            return [Batch(*row) for row in rows]
