"""The event log: predictions, feedback on them, failed requests; durable before acknowledged.

Writes go through `record`, which waits for its commit. Concurrent writers share one commit
(group commit): a thread takes all that waits and commits it at once, so that 64 clients cost
one fsync, not 64.
"""

from __future__ import annotations

import json
import math
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from feilun.core.batches import batches
from feilun.core.errors import Busy, FeilunError
from feilun.core.i18n import _
from feilun.store.database import Database, driver
from feilun.store.events.event import Event, insert
from feilun.store.events.predictions import ANSWERED, TOGETHER, PredictionRow, Usage
from feilun.store.events.usage import add_charges
from feilun.store.events.vault import Vault

GROUP = 512
WAITING = 2000


class LogFull(Busy):
    """More is waiting to be written than the limit allows."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "{count} writes are already waiting; the limit is WAITING in store/events/log.py."
            ).format(count=WAITING),
            remedy=_("Try again in a second."),
        )


# What is wrong with one work alone; the others in its group are committed.
_ITS_OWN_FAULT = (
    FeilunError,
    TypeError,
    ValueError,
    OverflowError,
    sa.exc.IntegrityError,
    sa.exc.InterfaceError,
    sa.exc.ProgrammingError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
_Answer = list[str] | BaseException


class _Work(NamedTuple):
    events: Sequence[Event]
    done: Future[list[str]]


Keep = Callable[[Sequence[Event]], tuple[Sequence[Event], Sequence[Event]]]
"""What of events is written down: the events as they are kept, one for one, and the keys of the
vault that go with them."""


def keep_all(events: Sequence[Event]) -> tuple[Sequence[Event], Sequence[Event]]:
    """Every event as it is."""
    return events, ()


class EventLog:
    """`events.db`; `keep` decides how the texts of the events are kept."""

    def __init__(self, path: Path, keep: Keep = keep_all) -> None:
        self.database = Database(path, "events")
        self.vault = Vault(path.parent, self.database)
        self._keep = keep
        self._queue: queue.Queue[_Work | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._door = threading.Lock()

    def close(self) -> None:
        """Commits what waits, then closes."""
        # Under the lock, so that nothing gets in behind the mark that ends the queue.
        with self._door:
            if self._thread is not None:
                self._queue.put(None)
                self._thread.join()
                self._thread = None
        self.database.close()

    def record(self, events: Sequence[Event]) -> list[str]:
        """The ids of the events, once they are durable (see `submit`)."""
        return self.submit(events).result()

    def submit(self, events: Sequence[Event]) -> Future[list[str]]:
        """A future of the events' ids, done once they are durable.

        A repeated `idempotency_key` gives the first one's id and writes nothing. The future
        raises `PredictionNotFound`, `IdempotencyReused` or `DiskFull`; then none of `events`
        was written. Raises `LogFull` at once when too much is waiting.
        """
        work = _Work(events, Future())
        with self._door:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._commit_groups, name="event-log", daemon=True
                )
                self._thread.start()
            try:
                self._queue.put_nowait(work)
            except queue.Full:
                raise LogFull() from None
        return work.done

    def _commit_groups(self) -> None:
        for group in batches(self._queue, GROUP):
            self._commit(group)

    def _commit(self, group: list[_Work]) -> None:
        """One transaction for the group; all answered after it."""
        answers: list[_Answer] = []
        # Who asked may have gone; from here on nobody can cancel.
        group = [work for work in group if work.done.set_running_or_notify_cancel()]
        try:
            # For the whole group at once, here and not where they are asked for: masking has a
            # high price per call and a low one per text, and nobody can forget it.
            events, keys = self._keep([event for work in group for event in work.events])
            rest = iter(events)
            with self.database.write() as connection:
                insert(connection, keys)
                parts = [list(islice(rest, len(work.events))) for work in group]
                answers = _inserted(connection, parts)
                add_charges(connection, _written(group, answers))
        except BaseException as error:
            answers = [error] * len(group)
        for work, answer in zip(group, answers, strict=True):
            if isinstance(answer, BaseException):
                work.done.set_exception(answer)
            else:
                work.done.set_result(answer)

    # Reading

    def usage(self, since: float) -> Usage:
        """What happened since `since` (seconds since 1970), counted in the database: memory does
        not grow with the traffic."""
        latest = f"FROM predictions WHERE at >= :since AND {ANSWERED}"
        requests = f"SELECT max(latency_ms) AS ms {latest} GROUP BY request"
        with self.database.read() as connection:

            def ask(query: str, **more: float) -> Any:
                return connection.execute(sa.text(query), {"since": since, **more})

            labels = ask(f"SELECT label, count(*) {latest} GROUP BY label").all()
            count = int(ask(f"SELECT count(*) FROM ({requests})").scalar() or 0)
            # The nearest rank: the smallest latency that this share of the requests kept to.
            p50, p99 = (
                ask(
                    f"SELECT ms FROM ({requests}) ORDER BY ms LIMIT 1 OFFSET :place",
                    place=max(0, math.ceil(share * count) - 1),
                ).scalar()
                or 0.0
                for share in (0.5, 0.99)
            )
            failed, all_failures = ask(
                "SELECT coalesce(sum(status >= 500), 0), count(*) FROM failures WHERE at >= :since"
            ).one()
        answered = {label: number for label, number in labels if label is not None}
        return Usage(
            requests=count,
            predictions=sum(number for _label, number in labels),
            labels=answered,
            latency_p50_ms=float(p50),
            latency_p99_ms=float(p99),
            failed=int(failed),
            refused=int(all_failures - failed),
        )

    def newest(self) -> int:
        """The sequence number of the newest feedback; 0 when there is none."""
        with self.database.read() as connection:
            return int(connection.scalar(sa.text("SELECT max(seq) FROM feedback")) or 0)

    def feedback_through(self, seq: int) -> list[dict[str, Any]]:
        """Every feedback up to sequence number `seq` joined to its prediction, oldest first.

        Keys: `seq, id, prediction, at, kind, value, source, key, input, label, score, model`, and
        `kept`, how the input is: of one that is a `hash` or `removed`, `input` is no text.
        """
        return self._feedback("WHERE f.seq <= :seq ORDER BY f.seq", seq=seq)

    def latest_feedback(self, limit: int = 20) -> list[dict[str, Any]]:
        """As `feedback_through`, only the newest, newest first."""
        return self._feedback("ORDER BY f.seq DESC LIMIT :limit", limit=limit)

    def _feedback(self, clause: str, **values: int) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT f.seq, f.id, f.prediction, f.at, f.kind, f.value, f.source, f.key,"
                    " f.kept AS value_kept, p.input, p.label, p.score, p.model, p.kept"
                    " FROM feedback f"
                    f" JOIN predictions p ON p.id = f.prediction {clause}"
                ),
                values,
            ).mappings()
            found = [{**row, "value": json.loads(row["value"])} for row in rows]
            texts = ("input", "prediction", "kept", "value", "id", "value_kept")
            return self.vault.open(connection, found, *texts)

    def predictions(self, since: float, limit: int = 1_000_000) -> list[dict[str, Any]]:
        """The predictions at or after `since` (seconds since 1970), newest first."""
        rows = self._select("predictions", since, limit)
        with self.database.read() as connection:
            return self.vault.open(connection, rows, "input", "id", "kept")

    def failures(self, since: float, limit: int = 1_000_000) -> list[dict[str, Any]]:
        """The failed requests at or after `since`, newest first."""
        return self._select("failures", since, limit)

    def _select(self, table: str, since: float, limit: int) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            rows = connection.execute(
                sa.text(f"SELECT * FROM {table} WHERE at >= :since ORDER BY seq DESC LIMIT :limit"),
                {"since": since, "limit": limit},
            ).mappings()
            return [dict(row) for row in rows]

    def counts(self) -> dict[str, int]:
        """How many predictions, feedback and failures there are."""
        with self.database.read() as connection:
            return {
                table: int(
                    connection.scalar(sa.text(f"SELECT count(*) FROM {table} WHERE {which}")) or 0
                )
                for table, which in (
                    ("predictions", ANSWERED),
                    ("feedback", "true"),
                    ("failures", "true"),
                )
            }


def _inserted(connection: sa.Connection, parts: Sequence[Sequence[Event]]) -> list[_Answer]:
    """The ids of the events of each work, or what is wrong with it alone.

    Nobody who asks decides what is in a prediction's row, so these go in together: a savepoint
    for each costs ten times what the row does. If they are refused all the same, or where a row
    is somebody's word, each work has a savepoint of its own.
    """
    answers: list[_Answer] = [[] for _part in parts]
    sure = [place for place, part in enumerate(parts) if {*map(type, part)} == {PredictionRow}]
    rows = [event for place in sure for event in parts[place]]
    try:
        # One statement needs no savepoint, which is two more calls that let other threads in.
        with nullcontext() if len(rows) <= TOGETHER else _savepoint(connection):
            ids = iter(insert(connection, rows))
        for place in sure:
            answers[place] = list(islice(ids, len(parts[place])))
    except _ITS_OWN_FAULT:
        sure = []
    for place in sorted({*range(len(parts))}.difference(sure)):
        try:
            with _savepoint(connection):
                answers[place] = insert(connection, parts[place])
        except _ITS_OWN_FAULT as error:
            answers[place] = error
    return answers


@contextmanager
def _savepoint(connection: sa.Connection) -> Iterator[None]:
    """Undoes what the block did if it raises. As SQLAlchemy's, for a tenth of the price."""
    execute = driver(connection).execute
    execute("SAVEPOINT work")
    try:
        yield
    except BaseException:
        execute("ROLLBACK TO work")
        execute("RELEASE work")
        raise
    execute("RELEASE work")


def _written(group: list[_Work], answers: list[_Answer]) -> Iterator[Event]:
    for work, answer in zip(group, answers, strict=True):
        if not isinstance(answer, BaseException):
            yield from work.events
