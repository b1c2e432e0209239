"""Who is signed in: a signed cookie that names a key; the key itself stays with its owner."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping

from itsdangerous import BadSignature, TimestampSigner

from feilun.core.errors import Throttled
from feilun.core.i18n import _
from feilun.store.clock import now
from feilun.team import Key, Scope
from feilun.team.keys import ScopeMissing
from feilun.wheel.project import Project

LASTS_SECONDS = 12 * 3600
TRIES = 10
TRIES_SECONDS = 300.0
_CLIENTS = 4096


class TooManyTries(Throttled):
    """Too many wrong keys from one address."""

    def __init__(self) -> None:
        super().__init__(
            _("Too many wrong keys; the limit is {count} in {minutes:.0f} minutes.").format(
                count=TRIES, minutes=TRIES_SECONDS / 60
            ),
            remedy=_("Wait a few minutes, then sign in with the right key."),
        )


class Sessions:
    """Signs people in with an API key that may read, for twelve hours at most.

    The cookie holds the key's id and the time, signed with the project's pepper. The key is
    looked up for every page, so revoking it ends its sessions.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._tries: OrderedDict[str, list[float]] = OrderedDict()

    @property
    def cookie(self) -> str:
        """The cookie's name. Browsers share cookies between ports, so each project has its own."""
        return "feilun_" + hashlib.sha256(self._project.keys.pepper()).hexdigest()[:8]

    def sign_in(self, text: str, client: str) -> str:
        """The cookie's value for the key `text`; raises `NoKey`, `ScopeMissing`,
        `TooManyTries`."""
        now = time.monotonic()
        recent = [at for at in self._tries.get(client, []) if at > now - TRIES_SECONDS]
        if len(recent) >= TRIES:
            raise TooManyTries()
        # Counted before it is checked: tries made at the same time must not slip through.
        self._tries[client] = [*recent, now]
        self._tries.move_to_end(client)
        while len(self._tries) > _CLIENTS:
            self._tries.popitem(last=False)
        key = self._project.keys.check(text.strip())
        if Scope.READ not in key.scopes:
            raise ScopeMissing(Scope.READ)
        self._tries.pop(client, None)
        return self._signer().sign(key.id).decode()

    async def check(self, cookies: Mapping[str, str]) -> Key | None:
        """The signed-in key, or None."""
        return await asyncio.to_thread(self._check, cookies)

    def _check(self, cookies: Mapping[str, str]) -> Key | None:
        value = cookies.get(self.cookie)
        if value is None:
            return None
        try:
            identity = self._signer().unsign(value, max_age=LASTS_SECONDS).decode()
        except (BadSignature, UnicodeDecodeError):
            return None
        return next(
            (
                key
                for key in self._project.keys.all()
                if key.id == identity and key.open(now()) and Scope.READ in key.scopes
            ),
            None,
        )

    def _signer(self) -> TimestampSigner:
        return TimestampSigner(
            self._project.keys.pepper(),
            salt="feilun.console.session",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
