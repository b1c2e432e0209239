"""An erasure in the event log: which rows are about a person, and their removal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any, NamedTuple

import polars as pl
import sqlalchemy as sa

from feilun.store.events import EventLog
from feilun.store.events.retention import delete_feedback, delete_predictions
from feilun.wheel.identifiers import Identifiers

_AT_ONCE = 2000
_OTHERS_LEFT = frozenset(
    {"predictions", "feedback", "failures", "vault", "erasures", "alembic_version", "usage"}
    | {"batch_results"}
)
"""Tables that are gone through row by row, or that hold nothing people wrote."""


class Found(NamedTuple):
    """Rows of the log that are about a person: ids and sequence numbers."""

    predictions: dict[str, int]
    exchanges: dict[str, int]
    feedback: dict[str, int]


class Sought(NamedTuple):
    """Who is to be erased: the digest of a person's name and the name itself (both None: nobody
    is named), what names them in texts, and the digests of those texts as `hash` keeps them."""

    subject: str | None
    name: str | None
    identifiers: Identifiers
    digests: frozenset[str]


def find(log: EventLog, sought: Sought) -> Found:
    """The rows about a person: those that name them as their subject, those whose text has an
    identifier, all feedback on them, and feedback that the person gave."""
    predictions: dict[str, int] = {}
    feedback: dict[str, int] = {}
    with log.database.read() as connection:
        for row in _predictions(connection, log, sought):
            predictions[row["id"]] = row["seq"]
        exchanges = dict(_exchanges(connection, sought))
        for row in _feedback(connection, log, sought, predictions.keys() | exchanges.keys()):
            feedback[row["id"]] = row["seq"]
    return Found(predictions, exchanges, feedback)


def _predictions(
    connection: sa.Connection, log: EventLog, sought: Sought
) -> Iterator[dict[str, Any]]:
    if not sought.identifiers:
        query = sa.text("SELECT id, seq FROM predictions WHERE subject = :subject")
        yield from map(dict, connection.execute(query, {"subject": sought.subject}).mappings())
        return
    for rows in _walk(connection, "predictions", "id, input, kept, subject"):
        opened = log.vault.open(connection, rows, "input", "id", "kept")
        has = sought.identifiers.within(pl.Series([r["input"] for r in opened], dtype=pl.String))
        for row, found in zip(opened, has, strict=True):
            named = sought.subject is not None and row["subject"] == sought.subject
            if found or named or row["input"] in sought.digests:
                yield row


def _exchanges(connection: sa.Connection, sought: Sought) -> Iterator[tuple[str, int]]:
    for rows in _walk(connection, "exchanges", "id, messages, text, answer, subject"):
        texts = [f"{row['messages']}\n{row['text']}\n{row['answer']}" for row in rows]
        has = sought.identifiers.within(pl.Series(texts, dtype=pl.String))
        for row, found in zip(rows, has, strict=True):
            if found or (sought.subject is not None and row["subject"] == sought.subject):
                yield row["id"], row["seq"]


def _feedback(
    connection: sa.Connection, log: EventLog, sought: Sought, answered: Set[str]
) -> Iterator[dict[str, Any]]:
    for rows in _walk(connection, "feedback", "id, prediction, value, kept, subject, source"):
        # The sealed value is a JSON text in quotes.
        bare = [
            {**row, "value": row["value"].strip('"') if row["kept"] == "vault" else row["value"]}
            for row in rows
        ]
        opened = log.vault.open(connection, bare, "value", "id", "kept")
        texts = [f"{row['value']}\n{row['source']}" for row in opened]
        has = sought.identifiers.within(pl.Series(texts, dtype=pl.String))
        for row, found in zip(opened, has, strict=True):
            named = sought.subject is not None and row["subject"] == sought.subject
            gave = sought.name is not None and row["source"] == sought.name
            if found or named or gave or row["prediction"] in answered:
                yield row


def _walk(connection: sa.Connection, table: str, columns: str) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while True:
        query = f"SELECT seq, {columns} FROM {table} WHERE seq > :after ORDER BY seq LIMIT :limit"
        values = {"after": after, "limit": _AT_ONCE}
        rows = [dict(row) for row in connection.execute(sa.text(query), values).mappings()]
        if not rows:
            return
        yield rows
        after = rows[-1]["seq"]


def remove(log: EventLog, found: Found, sought: Sought) -> tuple[int, int]:
    """Removes the rows and the person's keys, and from every other table the rows that name them
    or refer to what is removed; how many keys and other rows that were. In one transaction."""
    with log.database.write() as connection:
        others = _others(connection, found, sought)
        for ids in _parts(list(found.feedback)):
            delete_feedback(connection, ids)
        for ids in _parts(list(found.predictions)):
            delete_predictions(connection, ids)
        keys = connection.execute(
            sa.text("DELETE FROM vault WHERE subject = :subject"), {"subject": sought.subject}
        ).rowcount
    return int(keys), others


def _others(connection: sa.Connection, found: Found, sought: Sought) -> int:
    """Tables of other parts of the service: a row goes if its `subject` is the person, or if one
    of its texts has an identifier or the id of a removed row; of the results of a batch, which
    stand many in a row, those lines go."""
    tables = connection.scalars(sa.text("SELECT name FROM sqlite_master WHERE type = 'table'"))
    removed = _results(connection, found, sought)
    for table in sorted(set(tables) - _OTHERS_LEFT):
        if table.startswith("sqlite_"):
            continue
        columns = [row.name for row in connection.execute(sa.text(f"PRAGMA table_info({table})"))]
        rowids = _matching(connection, table, columns, found, sought)
        for part in _parts(rowids):
            statement = sa.text(f'DELETE FROM "{table}" WHERE rowid IN :ids')
            connection.execute(
                statement.bindparams(sa.bindparam("ids", expanding=True)), {"ids": part}
            )
        removed += len(rowids)
    return removed


def _results(connection: sa.Connection, found: Found, sought: Sought) -> int:
    """How many lines of the results of batches went."""
    removed = 0
    for rowid in connection.scalars(sa.text("SELECT rowid FROM batch_results")).all():
        one = {"rowid": rowid}
        query = sa.text("SELECT content FROM batch_results WHERE rowid = :rowid")
        lines = str(connection.scalar(query, one)).split("\n")
        hits = _about(pl.Series(lines, dtype=pl.String), found, sought)
        if hits.any():
            left = "\n".join(line for line, hit in zip(lines, hits, strict=True) if not hit)
            connection.execute(
                sa.text("UPDATE batch_results SET content = :left WHERE rowid = :rowid"),
                {**one, "left": left},
            )
            removed += int(hits.sum())
    return removed


def _about(texts: pl.Series, found: Found, sought: Sought) -> pl.Series:
    """Whether each text has an identifier or the id of a removed row."""
    ids = [*found.predictions, *found.exchanges, *found.feedback]
    has = sought.identifiers.within(texts)
    return has | texts.str.contains_any(ids) if ids else has


def _matching(
    connection: sa.Connection, table: str, columns: list[str], found: Found, sought: Sought
) -> list[int]:
    matching: list[int] = []
    try:
        rows = connection.execute(sa.text(f'SELECT rowid AS "_row", * FROM "{table}"')).mappings()
    except sa.exc.OperationalError:  # without row numbers: figures by key and day, no texts
        return []
    for part in rows.partitions(_AT_ONCE):
        texts = pl.Series([_whole(row, columns) for row in part], dtype=pl.String)
        for row, hit in zip(part, _about(texts, found, sought), strict=True):
            named = sought.subject is not None and row.get("subject") == sought.subject
            if hit or named:
                matching.append(row["_row"])
    return matching


def _whole(row: Any, columns: list[str]) -> str:
    """Every text of a row, one after the other."""
    values = (row[name] for name in columns)
    return "\n".join(
        value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        for value in values
        if isinstance(value, (str, bytes))
    )


def _parts(values: list[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
