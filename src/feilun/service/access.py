"""Which key a request carries, without asking the database for every request."""

from __future__ import annotations

import asyncio
import hashlib
import time

from feilun.team import Key, Keyring, Scope
from feilun.team.keys import NoKey, ScopeMissing

REMEMBER_SECONDS = 1.0
_REMEMBERED = 1024


class Access:
    """Checks keys; a valid one is remembered for a second, so a revoked one is refused by then.

    What is remembered is looked up by the digest of the key's text, so the time a lookup takes
    tells nothing about a valid key.
    """

    def __init__(self, keys: Keyring) -> None:
        self._keys = keys
        self._known: dict[bytes, tuple[Key, float]] = {}

    async def check(self, authorization: str, scope: Scope) -> Key:
        """The key in an `Authorization` header; raises `NoKey`, `ScopeMissing`."""
        scheme, _sep, text = authorization.partition(" ")
        text = text.strip()
        if scheme.lower() != "bearer" or not text:
            raise NoKey()
        digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
        key, until = self._known.get(digest, (None, 0.0))
        now = time.monotonic()
        if key is None or until < now:
            self._known.pop(digest, None)
            key = await asyncio.to_thread(self._keys.check, text)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[digest] = (key, now + REMEMBER_SECONDS)
        if scope not in key.scopes:
            raise ScopeMissing(scope)
        return key
