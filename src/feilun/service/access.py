"""Which key a request carries, without asking the database for every request."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import time
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from feilun.core.errors import Busy, Throttled
from feilun.core.i18n import _
from feilun.service.buckets import Buckets
from feilun.store import EventLog
from feilun.store.clock import now
from feilun.store.events import KeyUse
from feilun.team import Key, Keyring, Scope
from feilun.team.key_text import KeyText, read_text
from feilun.team.keys import MistypedKey, NoKey, ScopeMissing, StoredKey

REMEMBER_SECONDS = 1.0
USE_NOTED_SECONDS = 60.0
GUESSES, GUESSES_PER_MINUTE = 20, 10
GUESSES_OF_ONE, GUESSES_OF_ONE_PER_MINUTE = 5, 1
_REMEMBERED = 4096


class TooManyWrongKeys(Throttled):
    """Too many wrong keys came from one address."""

    def __init__(self, retry_seconds: int) -> None:
        self.retry_seconds = retry_seconds
        super().__init__(
            _(
                "Too many wrong keys came from this address; it may try {burst}, then {count} a "
                "minute."
            ).format(burst=GUESSES, count=GUESSES_PER_MINUTE),
            remedy=_("Use a right key: it works at once. Or wait {seconds} s.").format(
                seconds=retry_seconds
            ),
        )


class _Entry(NamedTuple):
    """A stored key, with its times in seconds since 1970."""

    stored: StoredKey
    closes_at: float
    old_until: float


class Access:
    """Checks keys against a copy of all of them, which is at most a second old, so a revoked one
    is refused by then; a new one is found at once.

    A text that was right is looked up by its digest, so the time that takes tells nothing of it.
    An address that sent many wrong keys is refused further ones with `TooManyWrongKeys`; a right
    key from it still works, unless that very key is what is being guessed at and was not used
    since the service began. Addresses are those of connections: behind a reverse proxy, all
    clients have one.
    """

    def __init__(self, keys: Keyring, events: EventLog) -> None:
        self._keys = keys
        self._events = events
        self._entries: dict[str, _Entry] = {}
        self._changes = (-1, -1)
        self._loaded_at = -math.inf
        self._loading: asyncio.Task[None] | None = None
        self._known: dict[bytes, tuple[str, str]] = {}
        self._used: dict[str, float] = {}
        self._guesses = Buckets(_REMEMBERED)
        self._guesses_of_one = Buckets(_REMEMBERED)

    async def check(self, authorization: str, scope: Scope | None, client: str = "") -> Key:
        """The key in an `Authorization` header, if it has the scope (None: whatever its scopes);
        `client` is the sender's address. Raises `NoKey`, `ScopeMissing`, `TooManyWrongKeys`."""
        text = bearer(authorization)
        if not text:
            raise NoKey()
        if not self._fresh():
            await asyncio.shield(self._load())
        digest = digest_of(text)
        key = self._remembered(digest)
        if key is None:
            key = await self._read(text, digest, client)
        if scope is not None and scope not in key.scopes:
            raise ScopeMissing(scope)
        self._note(key.id)
        return key

    def known(self, digest: bytes, scope: Scope) -> Key | None:
        """The key whose text has this digest (`digest_of`), if that can be said without a wait
        and it has the scope; None: ask `check`, which also says what is wrong."""
        key = self._remembered(digest) if self._fresh() else None
        if key is None or scope not in key.scopes:
            return None
        self._note(key.id)
        return key

    def _fresh(self) -> bool:
        """Whether the copy may be used. In the second half of its life it is renewed while it
        is used."""
        age = time.monotonic() - self._loaded_at
        if age > REMEMBER_SECONDS / 2:
            self._load()
        return age <= REMEMBER_SECONDS

    def _remembered(self, digest: bytes) -> Key | None:
        """The key that was right with this text before, if it still is."""
        identity, proven = self._known.get(digest, ("", ""))
        entry = self._entries.get(identity)
        if entry is None:
            return None
        moment = time.time()
        same = proven == entry.stored.hash or (
            proven == entry.stored.old_hash and moment < entry.old_until
        )
        return entry.stored.key if same and moment < entry.closes_at else None

    async def _read(self, text: str, digest: bytes, client: str) -> Key:
        """The key with that text; all that is wrong is answered alike."""
        network, read, moment = _network(client), read_text(text), time.monotonic()
        one = (network, read.id if read is not None and read.id in self._entries else "")
        throttled = self._guesses.level(network, *_ALL, moment) < 1
        if throttled and one[1] and self._guesses_of_one.level(one, *_ONE, moment) < 1:
            raise TooManyWrongKeys(_wait(self._guesses.level(network, *_ALL, moment), _ALL))
        key = None if read is None else self._opened(read)
        if key is None and read is not None and not throttled:
            # Whatever is wrong: it may have been made a moment ago.
            await asyncio.shield(self._load())
            key = self._opened(read)
        if key is None:
            level = self._guesses.take(network, *_ALL, moment)
            if one[1]:
                self._guesses_of_one.take(one, *_ONE, moment)
            if level < 1:
                raise TooManyWrongKeys(_wait(level, _ALL))
            raise MistypedKey() if read is None else NoKey()
        assert read is not None
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[digest] = (key.id, self._keys.hash(read.secret))
        return key

    def _opened(self, text: KeyText) -> Key | None:
        entry = self._entries.get(text.id)
        return self._keys.opened(text, None if entry is None else entry.stored, now())

    def _load(self) -> asyncio.Task[None]:
        """The task that renews the copy of the keys; one at a time."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._renew())
            # Who does not wait for it does not fail with it; the next who must wait, does.
            self._loading.add_done_callback(lambda task: task.cancelled() or task.exception())
        return self._loading

    async def _renew(self) -> None:
        started = time.monotonic()
        changes = await asyncio.to_thread(self._keys.changes)
        if changes != self._changes:
            stored = await asyncio.to_thread(self._keys.stored)
            self._entries = {identity: _entry(one) for identity, one in stored.items()}
            self._changes = changes
        self._loaded_at = started

    def _note(self, identity: str) -> None:
        """Has it written down, about once a minute, that the key is in use."""
        moment = time.time()
        if moment - self._used.get(identity, 0.0) > USE_NOTED_SECONDS:
            self._used[identity] = moment
            with suppress(Busy):
                self._events.submit([KeyUse(identity, moment)])


def bearer(authorization: str) -> str:
    """The text of the key in an `Authorization` header; empty where there is none."""
    scheme, _sep, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


def digest_of(text: str) -> bytes:
    """What the text of a key is known by, in memory only: its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


_ALL = (GUESSES, GUESSES_PER_MINUTE / 60)
_ONE = (GUESSES_OF_ONE, GUESSES_OF_ONE_PER_MINUTE / 60)


def _entry(stored: StoredKey) -> _Entry:
    key = stored.key
    closes_at = 0.0 if key.revoked_at is not None else _seconds(key.expires_at, math.inf)
    return _Entry(stored, closes_at, _seconds(stored.old_until, 0.0))


def _seconds(moment: str | None, otherwise: float) -> float:
    return otherwise if moment is None else datetime.fromisoformat(moment).timestamp()


def _wait(level: float, bucket: tuple[int, float]) -> int:
    return max(1, math.ceil((1 - level) / bucket[1]))


def _network(client: str) -> str:
    """The address; of IPv6 its first 64 bits, as one household has all of the rest."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False))
