"""Exchanges: chats that the gateway passed on to another server, and what came back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from feilun.store.events.usage import Charge, day_of
from feilun.store.events.vault import REMOVED

ANSWERED, CACHED = "answered", "cached"
BROKEN, CANCELLED, FAILED = "broken", "cancelled", "failed"

_COLUMNS = (
    "id", "at", "key", "model", "upstream", "messages", "text", "answer", "outcome", "code",
    "streamed", "finish", "prompt_tokens", "completion_tokens", "estimated", "cost", "latency_ms",
    "first_ms", "characters", "kept", "subject",
)  # fmt: skip
_EXCHANGE = sa.text(
    f"INSERT INTO exchanges ({', '.join(_COLUMNS)}) VALUES (:{', :'.join(_COLUMNS)})"
)
_DAY_SECONDS = 86400
_OLD = (
    "SELECT seq FROM exchanges x WHERE at < :before AND {also} AND NOT EXISTS"
    " (SELECT 1 FROM feedback f WHERE f.prediction = x.id) ORDER BY seq LIMIT :limit"
)
_HAS_TEXT = f"kept <> '{REMOVED}'"
OLD_ROWS = f"DELETE FROM exchanges WHERE seq IN ({_OLD.format(also='1')})"
OLD_TEXTS = (
    "UPDATE exchanges SET messages = '[]', text = '', answer = NULL, subject = NULL,"
    f" kept = '{REMOVED}' WHERE seq IN ({_OLD.format(also=_HAS_TEXT)})"
)
"""What retention does with exchanges on which there is no feedback, `:limit` at a time."""


class ExchangeRow(NamedTuple):
    """One chat and how it ended.

    `id` is the completion's, which feedback refers to; `at` in seconds since 1970 (UTC); `model`
    as it was asked for and `upstream`, the name it has there; `messages` as JSON, `text` what the
    user said last, `answer` what came back (None: nothing), all three as `kept` says (`masked`,
    `vault`…). `outcome`: `answered`, `cached`, `broken` (it broke off), `cancelled` (who asked
    went away) or `failed` (no answer), with the error's `code`. `finish` is the reason the model
    gave for its end. Tokens and `cost` (in the project's currency) are what the server
    said, or with `estimated` guessed from characters; a cached answer cost nothing. `latency_ms`
    until the end, `first_ms` until the first of the answer; `characters` of the messages;
    `subject`: the digest of the person it is about, where the request named one.
    """

    id: str
    at: float
    key: str
    model: str
    upstream: str
    messages: str
    text: str
    answer: str | None
    outcome: str
    code: str = ""
    streamed: bool = False
    finish: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False
    cost: float = 0.0
    latency_ms: float = 0.0
    first_ms: float | None = None
    characters: int = 0
    kept: str = "masked"
    subject: str | None = None

    def charge(self) -> Charge | None:
        """The request, and the tokens and money that were paid for; None where it failed."""
        if self.outcome == FAILED:
            return None
        tokens = 0 if self.outcome == CACHED else self.prompt_tokens + self.completion_tokens
        return Charge(self.key, self.at, self.id, 0, self.characters, tokens, self.cost)

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes them; their ids."""
        connection.execute(_EXCHANGE, [row._asdict() for row in rows])
        return [row.id for row in rows]


class DayExchanges(NamedTuple):
    """The exchanges of one day (`YYYY-MM-DD`, UTC) in figures; `estimated` of them have tokens
    that were guessed."""

    day: str
    exchanges: int
    cached: int
    errors: int
    cancelled: int
    tokens: int
    cost: float
    estimated: int


def by_day(connection: sa.Connection, since: float) -> list[DayExchanges]:
    """The days since `since` (seconds since 1970) that have exchanges, newest first; counted in
    the database."""
    rows = connection.execute(
        sa.text(
            "SELECT CAST(at / :day AS INTEGER) AS number, count(*) AS exchanges,"
            " sum(outcome = 'cached') AS cached,"
            " sum(outcome IN ('failed', 'broken')) AS errors,"
            " sum(outcome = 'cancelled') AS cancelled,"
            " sum(CASE outcome WHEN 'cached' THEN 0 ELSE prompt_tokens + completion_tokens END)"
            " AS tokens, sum(cost) AS cost, sum(estimated) AS estimated"
            " FROM exchanges WHERE at >= :since GROUP BY number ORDER BY number DESC"
        ),
        {"since": since, "day": _DAY_SECONDS},
    ).mappings()
    found = []
    for row in rows:
        counts = dict(row)
        day = day_of(float(counts.pop("number") * _DAY_SECONDS))
        found.append(DayExchanges(day=day, **counts))
    return found


def newest(connection: sa.Connection, limit: int) -> list[dict[str, Any]]:
    """The newest exchanges, newest first."""
    rows = connection.execute(
        sa.text("SELECT * FROM exchanges ORDER BY seq DESC LIMIT :limit"), {"limit": limit}
    ).mappings()
    return [dict(row) for row in rows]
