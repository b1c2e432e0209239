"""Failures: requests that were not answered with success."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import sqlalchemy as sa

_FAILURE = sa.text(
    "INSERT INTO failures (at, route, status, code) VALUES (:at, :route, :status, :code)"
)


class FailureRow(NamedTuple):
    """A request that was not answered with success."""

    at: float
    route: str
    status: int
    code: str

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them; nobody refers to them, so they have no ids."""
        connection.execute(_FAILURE, [row._asdict() for row in rows])
        return []
