"""Predictions: an answer to an input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, Self

import sqlalchemy as sa

from feilun.store.database import driver
from feilun.store.events.usage import Charge

UNANSWERED = frozenset({"shadow"})
"""Routes whose predictions nobody was answered with; nobody pays for them."""
ANSWERED = f"route NOT IN ({', '.join(repr(route) for route in sorted(UNANSWERED))})"
"""The others, as a condition in SQL."""

TOGETHER = 48
"""Rows of one statement, most: SQLite gives the interpreter back to Python's other threads, and
waits for it again, once per statement. 48 rows stay below the 999 values that every build takes,
and a statement for each number of them among those that a connection keeps prepared. So many are
written whole or not at all."""


class PredictionRow(NamedTuple):
    """One answer to one input.

    `at` in seconds since 1970 (UTC); `latency_ms` of its request; `route`: `live`, or what else
    had it answered; `level`: the place of the model that answered in a cascade, from 0; `scores`
    as JSON, where the task has them; `characters` of the input; `cost` in the project's currency;
    `kept`: how `input` is kept (`full`, `masked`, `hash`, `vault`); `subject`: the digest of the
    person it is about, where the request named one.
    """

    id: str
    request: str
    at: float
    model: str
    input: str
    label: str | None
    score: float
    reason: str | None
    latency_ms: float
    key: str
    route: str = "live"
    level: int = 0
    scores: str | None = None
    characters: int = 0
    cost: float = 0.0
    kept: str = "full"
    subject: str | None = None

    def charge(self) -> Charge | None:
        """One prediction to its key; None where nobody was answered with it."""
        if self.route in UNANSWERED:
            return None
        return Charge(self.key, self.at, self.request, 1, self.characters, 0, self.cost)

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them; their ids."""
        execute = driver(connection).execute
        for begin in range(0, len(rows), TOGETHER):
            part = rows[begin : begin + TOGETHER]
            execute(_statement(len(part)), [value for row in part for value in row])
        return [row.id for row in rows]


@cache
def _statement(count: int) -> str:
    columns = PredictionRow._fields
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT INTO predictions ({', '.join(columns)}) VALUES {', '.join([row] * count)}"


class Usage(NamedTuple):
    """A stretch of time in figures: answered requests, predictions, answers by label, the
    requests' median and 99th percentile of latency, and requests that failed (5xx) or were
    refused (4xx)."""

    requests: int
    predictions: int
    labels: dict[str, int]
    latency_p50_ms: float
    latency_p99_ms: float
    failed: int
    refused: int
