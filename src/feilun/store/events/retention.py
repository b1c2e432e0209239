"""Retention: what is older than it may be goes, a few hundred rows in each transaction.

A prediction on which there is feedback stays with it, since every turn learns from all of the
feedback anew. The newest row of a table is never deleted, only emptied: SQLite would give its
number away again, and turns go by those numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from feilun.store.database import Database
from feilun.store.events.exchanges import OLD_ROWS, OLD_TEXTS
from feilun.store.events.vault import REMOVED

ROWS_AT_ONCE = 500
_SLACK_SECONDS = 3600.0
_DAY_SECONDS = 86_400.0
_NO_FEEDBACK = "NOT EXISTS (SELECT 1 FROM feedback f WHERE f.prediction = p.id)"
EMPTIED = f"input = '', label = NULL, scores = NULL, subject = NULL, kept = '{REMOVED}'"
"""What a prediction loses that must go but whose number must not."""


class Cutoffs(NamedTuple):
    """What is older (seconds since 1970) goes; None: nothing does."""

    inputs: float | None = None
    rows: float | None = None
    feedback: float | None = None


class Purged(NamedTuple):
    """How many rows lost their text, and how many went."""

    inputs: int = 0
    predictions: int = 0
    feedback: int = 0
    failures: int = 0
    keys: int = 0


def purge(database: Database, cutoffs: Cutoffs, pause: Callable[[], None] = lambda: None) -> Purged:
    """Removes what is older than `cutoffs`, with `pause` between two transactions; the figures
    of usage stay. The write-ahead log is emptied at the end."""
    feedback = predictions = 0
    if cutoffs.feedback is not None:
        feedback, predictions = _old_feedback(database, cutoffs.feedback, pause)
    failures = 0
    if cutoffs.rows is not None:
        predictions += _old_predictions(database, cutoffs.rows, pause)
        failures = _repeated(database, _FAILURES, {"before": cutoffs.rows}, pause)
        _repeated(database, OLD_ROWS, {"before": cutoffs.rows}, pause)
    inputs = 0
    if cutoffs.inputs is not None:
        inputs = _old_inputs(database, cutoffs.inputs, pause)
        inputs += _repeated(database, OLD_TEXTS, {"before": cutoffs.inputs}, pause)
    newest = max((at for at in cutoffs if at is not None), default=None)
    keys = 0
    if newest is not None:
        keys = _repeated(database, _KEYS, _key_values(newest), pause)
        database.settle()
    return Purged(inputs, predictions, feedback, failures, keys)


_FAILURES = (
    "DELETE FROM failures WHERE seq IN"
    " (SELECT seq FROM failures WHERE at < :before ORDER BY seq LIMIT :limit)"
)
_SEALED = "SELECT 1 FROM {table} r WHERE r.kept = 'vault' AND {whose}"
_TODAYS = "r.at >= v.at - :day - :slack AND r.at < v.at + :day + :slack"
_KEYS = (
    "DELETE FROM vault WHERE id IN (SELECT id FROM vault v WHERE v.at < :before AND "
    + " AND ".join(
        "NOT EXISTS (" + _SEALED.format(table=table, whose=whose) + ")"
        for table in ("predictions", "feedback")
        for whose in (
            f"v.subject IS NULL AND r.subject IS NULL AND {_TODAYS}",
            "r.subject = v.subject",
        )
    )
    + " LIMIT :limit)"
)


def _key_values(before: float) -> dict[str, Any]:
    # A key of today is still sealed with.
    return {"before": before - _DAY_SECONDS, "day": _DAY_SECONDS, "slack": _SLACK_SECONDS}


def _repeated(
    database: Database, statement: str, values: dict[str, Any], pause: Callable[[], None]
) -> int:
    """How many rows the statement removed, `ROWS_AT_ONCE` at a time."""
    total = 0
    while True:
        with database.write() as connection:
            done = connection.execute(sa.text(statement), {**values, "limit": ROWS_AT_ONCE})
        total += done.rowcount
        if done.rowcount < ROWS_AT_ONCE:
            return total
        pause()


def _old_feedback(database: Database, before: float, pause: Callable[[], None]) -> tuple[int, int]:
    feedback = predictions = 0
    while True:
        with database.write() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT id, prediction FROM feedback WHERE at < :before"
                    " AND seq < (SELECT max(seq) FROM feedback) ORDER BY seq LIMIT :limit"
                ),
                {"before": before, "limit": ROWS_AT_ONCE},
            ).all()
            delete_feedback(connection, [row.id for row in rows])
            old = _still_old(connection, sorted({row.prediction for row in rows}), before)
            delete_predictions(connection, old)
        feedback += len(rows)
        predictions += len(old)
        if len(rows) < ROWS_AT_ONCE:
            return feedback, predictions
        pause()


def _still_old(connection: sa.Connection, ids: list[str], before: float) -> list[str]:
    """Those of the predictions that are old and have no feedback any more."""
    query = sa.text(
        f"SELECT id FROM predictions p WHERE id IN :ids AND at < :before AND {_NO_FEEDBACK}"
    ).bindparams(sa.bindparam("ids", expanding=True))
    return list(connection.scalars(query, {"ids": ids, "before": before})) if ids else []


def _old_predictions(database: Database, before: float, pause: Callable[[], None]) -> int:
    def batch(connection: sa.Connection, after: int) -> list[Any]:
        return list(
            connection.execute(
                sa.text(
                    "SELECT seq, id FROM predictions p WHERE seq > :after AND at < :before"
                    f" AND {_NO_FEEDBACK} AND seq < (SELECT max(seq) FROM predictions)"
                    " ORDER BY seq LIMIT :limit"
                ),
                {"after": after, "before": before, "limit": ROWS_AT_ONCE},
            )
        )

    return _walked(database, batch, delete_predictions, pause)


def _old_inputs(database: Database, before: float, pause: Callable[[], None]) -> int:
    def batch(connection: sa.Connection, after: int) -> list[Any]:
        return list(
            connection.execute(
                sa.text(
                    "SELECT seq, id FROM predictions p WHERE seq > :after AND at < :before"
                    f" AND kept <> :removed AND {_NO_FEEDBACK} ORDER BY seq LIMIT :limit"
                ),
                {"after": after, "before": before, "removed": REMOVED, "limit": ROWS_AT_ONCE},
            )
        )

    def remove(connection: sa.Connection, ids: list[str]) -> None:
        statement = sa.text(
            "UPDATE predictions SET input = '', subject = NULL, kept = :removed WHERE id IN :ids"
        ).bindparams(sa.bindparam("ids", expanding=True))
        connection.execute(statement, {"ids": ids, "removed": REMOVED})

    return _walked(database, batch, remove, pause)


def _walked(
    database: Database,
    batch: Callable[[sa.Connection, int], list[Any]],
    remove: Callable[[sa.Connection, list[str]], None],
    pause: Callable[[], None],
) -> int:
    total = after = 0
    while True:
        # Found outside the write, so that nobody waits for the search.
        with database.read() as reader:
            rows = batch(reader, after)
        if not rows:
            return total
        after = rows[-1].seq
        with database.write() as connection:
            remove(connection, [row.id for row in rows])
        total += len(rows)
        pause()


def delete_feedback(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Removes the feedback; the newest of all loses what it says and keeps its number."""
    _removed(
        connection,
        "feedback",
        ids,
        "kind = 'comment', value = '\"\"', source = '', idempotency_key = NULL, subject = NULL,"
        f" digest = NULL, kept = '{REMOVED}'",
    )


def delete_predictions(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Removes predictions on which there is no feedback; the newest of all, and one to which the
    newest feedback refers, are emptied and keep their numbers."""
    kept = "NOT EXISTS (SELECT 1 FROM feedback f WHERE f.prediction = predictions.id)"
    _removed(connection, "predictions", ids, EMPTIED, kept)


def _removed(
    connection: sa.Connection, table: str, ids: Sequence[str], emptied: str, also: str = "1"
) -> None:
    if not ids:
        return
    which: sa.BindParameter[str] = sa.bindparam("ids", expanding=True)
    older = f"id IN :ids AND seq < (SELECT max(seq) FROM {table}) AND {also}"
    statement = sa.text(f"DELETE FROM {table} WHERE {older}").bindparams(which)
    connection.execute(statement, {"ids": ids})
    statement = sa.text(f"UPDATE {table} SET {emptied} WHERE id IN :ids").bindparams(which)
    connection.execute(statement, {"ids": ids})
