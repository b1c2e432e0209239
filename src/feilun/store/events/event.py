"""What the event log holds: rows that know how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol, Self

import sqlalchemy as sa


class Event(Protocol):
    """A row of the log, of any kind; see `PredictionRow` for an example."""

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """The ids of the rows, once written in the transaction of `connection`; an error that
        is the rows' own fault is raised, and then none of them is written."""


def insert(connection: sa.Connection, events: Sequence[Event]) -> list[str]:
    """The ids of the events, in their order; neighbours of one kind are written together."""
    ids: list[str] = []
    for _kind, group in groupby(events, key=type):
        rows = list(group)
        ids += rows[0].insert(connection, rows)
    return ids


def storable(text: str) -> str:
    """`text` as a database can hold it: lone surrogates, which are no characters, become «?»."""
    return text.encode("utf-8", "replace").decode()
