"""Predictions: an answer to an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import sqlalchemy as sa

_COLUMNS = (
    "id", "request", "at", "model", "input", "label", "score", "reason", "latency_ms", "key",
    "route", "level", "scores", "characters", "cost", "kept", "subject",
)  # fmt: skip
_PREDICTION = sa.text(
    f"INSERT INTO predictions ({', '.join(_COLUMNS)}) VALUES (:{', :'.join(_COLUMNS)})"
)


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

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them; their ids."""
        connection.execute(_PREDICTION, [row._asdict() for row in rows])
        return [row.id for row in rows]


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
