"""Rows of the project's own event log, as sources take them: what is new since the last turn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from feilun.stages.collect.source import Piece, Quarantine

if TYPE_CHECKING:
    import polars as pl

LOG = Path(".feilun") / "events.db"


class Wanted(NamedTuple):
    """Rows of `table`: `query` gives at most `:limit` of those with `:after` < `seq` <=
    `:newest`, in that order, and `at_once` of them are in memory at a time. `sealed`: they have
    an `input`, which is opened; those whose text is gone are left out."""

    table: str
    query: sa.TextClause
    at_once: int
    sealed: bool = False


def logged(
    name: str,
    root: Path,
    since: str | None,
    wanted: Wanted,
    records: Callable[[list[dict[str, Any]]], pl.DataFrame],
) -> Iterator[Piece]:
    """One piece: the rows behind the watermark `since`, made into records by `records`; none
    while there is no event log."""
    path = root / LOG
    if not path.exists():
        return
    after, newest = int(since or 0), _newest(path, wanted.table)
    if newest < after:  # another log lies there now
        after = 0
    identity = hashlib.sha256(f"{after} {newest}".encode()).hexdigest()

    def frames(_quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        for rows in _chunks(path, wanted, after, newest):
            yield records(rows)

    yield Piece(name, identity, frames, lambda: str(newest))


def time_of_row() -> pl.Expr:
    """The column `time` of a record, from the column `at` (seconds since 1970)."""
    import polars as pl

    from feilun.core.records import SCHEMA

    return (pl.col("at") * 1e6).round().cast(pl.Int64).cast(SCHEMA["time"]).alias("time")


def _newest(path: Path, table: str) -> int:
    from feilun.store import EventLog

    with closing(EventLog(path)) as log, log.database.read() as connection:
        return int(connection.scalar(sa.text(f"SELECT max(seq) FROM {table}")) or 0)


def _chunks(path: Path, wanted: Wanted, after: int, newest: int) -> Iterator[list[dict[str, Any]]]:
    """The rows, each chunk by a read of its own: no long one holds back the log's writers."""
    from feilun.store import EventLog
    from feilun.store.events.vault import REMOVED

    with closing(EventLog(path)) as log:
        while True:
            values = {"after": after, "newest": newest, "limit": wanted.at_once}
            with log.database.read() as connection:
                rows = [dict(row) for row in connection.execute(wanted.query, values).mappings()]
                if wanted.sealed:
                    rows = log.vault.open(connection, rows, "input", "id", "kept")
            if not rows:
                return
            after = rows[-1]["seq"]
            yield [row for row in rows if not wanted.sealed or row["kept"] != REMOVED]
