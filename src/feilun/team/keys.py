"""API keys: shown once, stored only as a keyed hash, looked up by their public half.

A key is `fw_<id>_<secret>`: 12 hex digits that name it and 256 random bits in hex. What is
stored is HMAC-SHA256 of the secret under the project's pepper, a file readable by its owner
only; a slow hash would buy nothing against 256 bits and cost 0.1 s a request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from feilun.core.errors import Denied, Missing, shortened
from feilun.core.i18n import _
from feilun.store.clock import now
from feilun.store.control import Control
from feilun.store.disk import lock, write_file
from feilun.store.events import storable

PREFIX = "fw"


class Scope(StrEnum):
    """What a key may do."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    READ = "read"


class Key(NamedTuple):
    """A stored key, without its secret."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: str
    revoked_at: str | None


class NoKey(Denied):
    """The request carries no usable key."""

    def __init__(self) -> None:
        super().__init__(
            _("No valid API key: send the header 'Authorization: Bearer fw_…'."),
            remedy="feilun key add NAME",
        )


class ScopeMissing(Denied):
    """The key is valid, but not for this."""

    kind = "forbidden"

    def __init__(self, scope: Scope) -> None:
        super().__init__(
            _("This key lacks the scope '{scope}'.").format(scope=scope),
            remedy=f"feilun key add NAME --scope {scope}",
        )


class KeyNotFound(Missing):
    """No key has that id."""

    def __init__(self, identity: str) -> None:
        super().__init__(
            _("There is no key '{id}'.").format(id=shortened(identity)), remedy="feilun key list"
        )


class Keyring:
    """The keys of one project."""

    def __init__(self, control: Control, pepper_file: Path) -> None:
        self._control = control
        self._pepper_file = pepper_file

    def add(self, name: str, scopes: frozenset[Scope] = frozenset(Scope)) -> str:
        """A new key; its text is returned once and cannot be had again."""
        identity, secret = secrets.token_hex(6), secrets.token_hex(32)
        with self._control.database.write() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO keys (id, name, hash, scopes, created_at)"
                    " VALUES (:id, :name, :hash, :scopes, :at)"
                ),
                {
                    "id": identity,
                    "name": name,
                    "hash": self._hash(secret),
                    "scopes": " ".join(sorted(scopes)),
                    "at": now(),
                },
            )
        return f"{PREFIX}_{identity}_{secret}"

    def check(self, text: str) -> Key:
        """The key whose text this is; raises `NoKey`, in the same time for any wrong text."""
        prefix, _sep, rest = text.partition("_")
        identity, _sep, secret = rest.partition("_")
        with self._control.database.read() as connection:
            row = connection.execute(
                sa.text(
                    "SELECT id, name, hash, scopes, created_at, revoked_at FROM keys WHERE id = :id"
                ),
                {"id": storable(identity[:64])},
            ).first()
        stored = row.hash if row is not None else "0" * 64
        same = hmac.compare_digest(stored, self._hash(secret[:256]))
        if row is None or not same or prefix != PREFIX or row.revoked_at is not None:
            raise NoKey()
        return Key(row.id, row.name, _scopes(row.scopes), row.created_at, None)

    def all(self) -> list[Key]:
        """Every key, oldest first."""
        with self._control.database.read() as connection:
            rows = connection.execute(
                sa.text(
                    "SELECT id, name, scopes, created_at, revoked_at FROM keys ORDER BY created_at"
                )
            )
            return [Key(r.id, r.name, _scopes(r.scopes), r.created_at, r.revoked_at) for r in rows]

    def revoke(self, identity: str) -> None:
        """Makes the key useless from now on; raises `KeyNotFound`."""
        with self._control.database.write() as connection:
            changed = connection.execute(
                sa.text("UPDATE keys SET revoked_at = coalesce(revoked_at, :at) WHERE id = :id"),
                {"at": now(), "id": storable(identity)},
            )
            if changed.rowcount == 0:
                raise KeyNotFound(identity)

    def pepper(self) -> bytes:
        """The project's 32 secret bytes, made on first use."""
        if not self._pepper_file.exists():
            with lock(self._pepper_file.with_suffix(".lock"), what="pepper", wait_seconds=10):
                if not self._pepper_file.exists():
                    write_file(self._pepper_file, secrets.token_bytes(32), mode=0o600)
        return self._pepper_file.read_bytes()

    def _hash(self, secret: str) -> str:
        return hmac.new(
            self.pepper(), secret.encode("utf-8", "replace"), hashlib.sha256
        ).hexdigest()


def _scopes(text: str) -> frozenset[Scope]:
    return frozenset(Scope(name) for name in text.split())
