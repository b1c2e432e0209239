"""API keys: shown once, stored only as a keyed hash, looked up by their public half.

What is stored is HMAC-SHA256 of the secret under the project's pepper, a file readable by its
owner only; a slow hash would buy nothing against 256 bits and cost 0.1 s a request.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from feilun.core.errors import Conflict, Denied, Missing, shortened
from feilun.core.i18n import _
from feilun.store.clock import now
from feilun.store.control import Control
from feilun.store.disk import lock, write_file
from feilun.store.events import storable
from feilun.team.key_text import KeyText, new_text, read_text

_NOBODY = "0" * 64
_COLUMNS = (
    "id, name, scopes, created_at, revoked_at, expires_at, per_minute, burst, monthly,"
    " monthly_cost, hash, old_hash, old_until"
)
_NEXT = "(SELECT coalesce(max(changed), 0) + 1 FROM keys)"


class Scope(StrEnum):
    """What a key may do."""

    PREDICT = "predict"
    FEEDBACK = "feedback"
    READ = "read"
    CHAT = "chat"
    ERASE = "erase"


EVERYDAY = frozenset(Scope) - {Scope.ERASE}
"""What a key may do unless it says otherwise: everything but what cannot be undone."""


class Limits(NamedTuple):
    """What a key may use; None: as much as it likes.

    `per_minute` requests on average, `burst` of them at once (else `per_minute`); `monthly`
    predictions and `monthly_cost` (in the project's currency) per calendar month, UTC.
    """

    per_minute: int | None = None
    burst: int | None = None
    monthly: int | None = None
    monthly_cost: float | None = None


class Key(NamedTuple):
    """A stored key, without its secret; times are ISO 8601 in UTC."""

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: str
    revoked_at: str | None
    expires_at: str | None = None
    limits: Limits = Limits()

    def open(self, at: str) -> bool:
        """Whether the key is neither revoked nor expired at that time."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


class StoredKey(NamedTuple):
    """A key with the hash of its secret, and of the one before while that is still valid."""

    key: Key
    hash: str
    old_hash: str | None = None
    old_until: str | None = None


class NoKey(Denied):
    """The request carries no usable key."""

    def __init__(self) -> None:
        super().__init__(
            _("No valid API key: send the header 'Authorization: Bearer fw_…'."),
            remedy="feilun key add NAME",
        )


class MistypedKey(NoKey):
    """The text cannot be that of any key: its checksum is wrong, or it is cut off."""

    def __init__(self) -> None:
        Denied.__init__(
            self,
            _("The API key is mistyped or cut off: its checksum does not match."),
            remedy=_("Copy the whole key: 'fw_', 12 digits, '_' and 72 digits."),
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


class KeyEnded(Conflict):
    """The key is revoked or expired, so a new secret would open nothing."""

    def __init__(self, identity: str) -> None:
        super().__init__(
            _("Key {id} is revoked or expired; a new secret would open nothing.").format(
                id=identity
            ),
            remedy="feilun key add NAME",
        )


class Keyring:
    """The keys of one project."""

    def __init__(self, control: Control, pepper_file: Path) -> None:
        self._control = control
        self._pepper_file = pepper_file
        self._pepper = b""

    def add(
        self,
        name: str,
        scopes: frozenset[Scope] = EVERYDAY,
        *,
        expires_at: str | None = None,
        limits: Limits = Limits(),  # noqa: B008  # immutable
    ) -> str:
        """A new key; its text is returned once and cannot be had again."""
        text = new_text()
        with self._control.database.write() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO keys (id, name, hash, scopes, created_at, expires_at, per_minute,"
                    " burst, monthly, monthly_cost, changed)"
                    " VALUES (:id, :name, :hash, :scopes, :at, :expires_at, :per_minute, :burst,"
                    f" :monthly, :monthly_cost, {_NEXT})"
                ),
                {
                    "id": text.id,
                    "name": name,
                    "hash": self.hash(text.secret),
                    "scopes": " ".join(sorted(scopes)),
                    "at": now(),
                    "expires_at": expires_at,
                    **limits._asdict(),
                },
            )
        return str(text)

    def rotate(self, identity: str, grace_seconds: float) -> str:
        """A new text for the key; the one before is valid for `grace_seconds` more, the one before
        that no longer. Raises `KeyNotFound`, `KeyEnded`."""
        text = new_text(storable(identity))
        until = datetime.now(UTC) + timedelta(seconds=grace_seconds)
        with self._control.database.write() as connection:
            row = connection.execute(_ONE, {"id": text.id}).mappings().first()
            if row is None:
                raise KeyNotFound(identity)
            if not _stored(row).key.open(now()):
                raise KeyEnded(identity)
            connection.execute(
                sa.text(
                    "UPDATE keys SET old_hash = hash, old_until = :until, hash = :hash,"
                    f" changed = {_NEXT} WHERE id = :id"
                ),
                {
                    "id": text.id,
                    "hash": self.hash(text.secret),
                    "until": until.isoformat(timespec="microseconds"),
                },
            )
        return str(text)

    def limit(
        self, identity: str, *, expires_at: str | None = None, **changes: float | None
    ) -> Key:
        """The key with some of its `Limits` changed (None: no limit any more), and with a new
        end if `expires_at` is given. Raises `KeyNotFound`."""
        assert changes.keys() <= set(Limits._fields)
        values: dict[str, float | str | None] = {**changes}
        if expires_at is not None:
            values["expires_at"] = expires_at
        with self._control.database.write() as connection:
            for column, value in values.items():
                connection.execute(
                    sa.text(f"UPDATE keys SET {column} = :value, changed = {_NEXT} WHERE id = :id"),
                    {"value": value, "id": storable(identity)},
                )
            row = connection.execute(_ONE, {"id": storable(identity)}).mappings().first()
        if row is None:
            raise KeyNotFound(identity)
        return _stored(row).key

    def revoke(self, identity: str) -> Key:
        """The key, useless from now on; raises `KeyNotFound`."""
        with self._control.database.write() as connection:
            connection.execute(
                sa.text(
                    "UPDATE keys SET revoked_at = coalesce(revoked_at, :at),"
                    f" changed = {_NEXT} WHERE id = :id"
                ),
                {"at": now(), "id": storable(identity)},
            )
            row = connection.execute(_ONE, {"id": storable(identity)}).mappings().first()
        if row is None:
            raise KeyNotFound(identity)
        return _stored(row).key

    def check(self, text: str) -> Key:
        """The key whose text this is; raises `MistypedKey`, which needs no look-up, and `NoKey`,
        in the same time whether it is unknown, wrong, revoked or expired."""
        read = read_text(text)
        if read is None:
            raise MistypedKey()
        with self._control.database.read() as connection:
            row = connection.execute(_ONE_OR_DECOY, {"id": read.id}).mappings().one()
        key = self.opened(read, _stored(row), now())
        if key is None:
            raise NoKey()
        return key

    def opened(self, text: KeyText, stored: StoredKey | None, at: str) -> Key | None:
        """The stored key if `text` opens it at that time; the same work whatever is wrong."""
        given = self.hash(text.secret)
        current, old = (_NOBODY, None) if stored is None else (stored.hash, stored.old_hash)
        same = hmac.compare_digest(current, given)
        same_as_old = hmac.compare_digest(old or _NOBODY, given)
        if stored is None or not stored.key.open(at):
            return None
        in_grace = stored.old_until is not None and at < stored.old_until
        return stored.key if same or (same_as_old and in_grace) else None

    def all(self) -> list[Key]:
        """Every key, oldest first."""
        return sorted(
            (stored.key for stored in self.stored().values()), key=lambda key: key.created_at
        )

    def stored(self) -> dict[str, StoredKey]:
        """Every key with its hashes, by its id."""
        with self._control.database.read() as connection:
            rows = connection.execute(sa.text(f"SELECT {_COLUMNS} FROM keys")).mappings()
            return {row["id"]: _stored(row) for row in rows}

    def changes(self) -> tuple[int, int]:
        """Two numbers, one of which differs after any change of any key, whoever made it."""
        with self._control.database.read() as connection:
            row = connection.execute(sa.text("SELECT max(changed), count(*) FROM keys")).one()
        return int(row[0] or 0), int(row[1])

    def pepper(self) -> bytes:
        """The project's 32 secret bytes, made on first use."""
        if not self._pepper:
            if not self._pepper_file.exists():
                with lock(self._pepper_file.with_suffix(".lock"), what="pepper", wait_seconds=10):
                    if not self._pepper_file.exists():
                        write_file(self._pepper_file, secrets.token_bytes(32), mode=0o600)
            self._pepper = self._pepper_file.read_bytes()
        return self._pepper

    def hash(self, secret: str) -> str:
        """What is stored of a secret."""
        return hmac.digest(self.pepper(), secret.encode(), hashlib.sha256).hex()


_ONE = sa.text(f"SELECT {_COLUMNS} FROM keys WHERE id = :id")
# Without the second row, which is no key and looks like one, an unknown id was told 15 µs sooner
# (median of 3000).
_ONE_OR_DECOY = sa.text(
    f"SELECT {_COLUMNS} FROM keys WHERE id = :id UNION ALL SELECT '{_NOBODY[:12]}', 'nobody',"
    f" '{' '.join(sorted(EVERYDAY))}', '2000-01-01T00:00:00.000000+00:00', '', NULL, NULL, NULL,"
    f" NULL, NULL, '{_NOBODY}', NULL, NULL LIMIT 1"
)


def _stored(row: sa.RowMapping) -> StoredKey:
    values: dict[str, Any] = {str(name): value for name, value in row.items()}
    hashes = [values.pop(name) for name in ("hash", "old_hash", "old_until")]
    limits = Limits(**{name: values.pop(name) for name in Limits._fields})
    scopes = frozenset(Scope(name) for name in values.pop("scopes").split())
    return StoredKey(Key(scopes=scopes, limits=limits, **values), *hashes)
