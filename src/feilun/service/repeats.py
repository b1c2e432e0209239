"""Requests that name themselves, by the header `Idempotency-Key`, are answered once.

A client that did not hear the answer sends the same request again; it gets the answer of the
first time, byte for byte, and nothing is computed, stored or charged again.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import sqlalchemy as sa

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.service.errors import json_bytes
from feilun.store import EventLog
from feilun.store.events import AnswerRow, IdempotencyReused
from feilun.store.events.answers import find_answer
from feilun.team import Key

HEADER = "idempotency-key"
REPLAYED = {"idempotency-replayed": "true"}
LONGEST = 255

Keep = Callable[[dict[str, Any]], AnswerRow]
"""Gives the event by which an answer is kept; it is stored with the predictions it tells of."""


class BadIdempotencyKey(Invalid):
    """The header `Idempotency-Key` is empty or too long."""

    def __init__(self, length: int) -> None:
        super().__init__(
            _("The Idempotency-Key has {length} characters; it may have 1 to {limit}.").format(
                length=length, limit=LONGEST
            ),
            remedy=_("Send a random UUID, a new one for each new request."),
        )


class Repeated(NamedTuple):
    """An answer as JSON, and whether it was given before."""

    content: bytes
    before: bool


class Repeats:
    """Remembers answers in the event log, for a day; each key has names of its own."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._under_way: dict[str, _UnderWay] = {}

    async def once(
        self, key: Key, name: str, body: bytes, make: Callable[[Keep], Awaitable[dict[str, Any]]]
    ) -> Repeated:
        """What `make` answers, or answered to the request of that name before; of two at the same
        time the second waits. `body` is all by which two requests differ. What fails is not kept.

        Raises `IdempotencyReused` when the body is another one, `BadIdempotencyKey`.
        """
        if not 1 <= len(name) <= LONGEST:
            raise BadIdempotencyKey(len(name))
        identity = _digest(key.id.encode(), name.encode("utf-8", "replace"))
        digest = _digest(body)
        while (first := self._under_way.get(identity)) is not None:
            _check_same(first.body, digest, name)
            await first.ended.wait()
            if first.content is not None:
                return Repeated(first.content, before=True)
        mine = self._under_way[identity] = _UnderWay(digest)
        try:
            answered = await self._once(identity, digest, name, make)
            mine.content = answered.content
            return answered
        finally:
            del self._under_way[identity]
            mine.ended.set()

    async def _once(
        self,
        identity: str,
        digest: str,
        name: str,
        make: Callable[[Keep], Awaitable[dict[str, Any]]],
    ) -> Repeated:
        found = await asyncio.to_thread(self._find, identity)
        if found is None:
            kept: list[bytes] = []

            def keep(content: dict[str, Any]) -> AnswerRow:
                kept.append(json_bytes(content))
                return AnswerRow(identity, digest, kept[-1], time.time())

            try:
                await make(keep)
                return Repeated(kept[-1], before=False)
            except (sa.exc.IntegrityError, sqlite3.IntegrityError):
                # Another process answered it in between; of ours nothing was stored.
                found = await asyncio.to_thread(self._find, identity)
                if found is None:
                    raise
        _check_same(found.body, digest, name)
        return Repeated(found.response, before=True)

    def _find(self, identity: str) -> AnswerRow | None:
        with self._events.database.read() as connection:
            return find_answer(connection, identity, time.time())


class _UnderWay:
    """A request that is being answered."""

    def __init__(self, body: str) -> None:
        self.body = body
        self.content: bytes | None = None
        self.ended = asyncio.Event()


def _check_same(before: str, now: str, name: str) -> None:
    if before != now:
        raise IdempotencyReused(name)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
