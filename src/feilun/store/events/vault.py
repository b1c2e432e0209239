"""The vault: texts of the log, encrypted, each openable only with a key that can be dropped.

AES-256-GCM (NIST SP 800-38D) with a random nonce of 96 bits; the id of the row that a text stands
in is authenticated with it, so that a text cannot be moved to another row. Its key is random, is
stored in the table `vault` wrapped (encrypted the same way) by the master key in `vault.key`, and
belongs to one person in one commit, or to what one process logged on one day without naming
anybody. Who drops a person's keys makes every sealed text of theirs unreadable.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import sqlalchemy as sa

from feilun.core.errors import Damaged
from feilun.core.i18n import _
from feilun.store.clock import random_stock
from feilun.store.database import Database, driver
from feilun.store.disk import lock, write_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

FILE = "vault.key"
KEY_BYTES, NONCE_BYTES = 32, 12
REMOVED = "removed"
"""`kept` of a row whose text is gone: by retention, by an erasure, or with its key."""
_MARK = "v1"
_DAY_SECONDS = 86_400
_nonces = random_stock(NONCE_BYTES)
_INSERT = (
    "INSERT INTO vault (id, subject, wrapped, at) VALUES (?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)


class VaultKeyLost(Damaged):
    """The master key is not there, and without it the sealed texts cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("The key of the vault, {path}, is missing or damaged.").format(path=path),
            remedy=_(
                "Restore it from a backup. Without it the texts in the log are lost; to go on"
                ' without them, set keep = "masked" in [serve.log].'
            ),
        )


class VaultKeyOther(Damaged):
    """The master key is not the one that the texts were sealed under."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path} is not the key that the texts in the log were sealed with.").format(
                path=path
            ),
            remedy=_("Restore vault.key and events.db from the same backup."),
        )


class VaultKeyRow(NamedTuple):
    """A key of the vault: `subject` is the digest of the person whose texts it opens, None for
    those that name nobody; `at` in seconds since 1970."""

    id: str
    subject: str | None
    wrapped: bytes
    at: float

    @classmethod
    def insert(cls, connection: sa.Connection, rows: Sequence[Self]) -> list[str]:
        """Writes those that are not there yet; nobody outside refers to them."""
        driver(connection).executemany(_INSERT, rows)
        return []


class SealingKey(NamedTuple):
    """A key in use, with its row."""

    row: VaultKeyRow
    cipher: AESGCM


class Vault:
    """Seals and opens the texts of the log in `folder`; its master key is made on first use."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.path = folder / FILE
        self._database = database
        self._days: dict[int, SealingKey] = {}

    def key(self, subject: str | None) -> SealingKey:
        """A key to seal with: a new one for a person, today's for what names nobody. Its row must
        be written in the transaction of what it seals."""
        now = time.time()
        if subject is not None:
            return self._new(subject, now)
        day = int(now // _DAY_SECONDS)
        if day not in self._days:
            self._days = {day: self._new(None, now)}
        return self._days[day]

    def seal(self, key: SealingKey, identity: str, text: str) -> str:
        """`text` for the row `identity`, as text: the key's id, nonce and ciphertext."""
        nonce = _nonces.next()
        content = text.encode("utf-8", "replace")
        sealed = nonce + key.cipher.encrypt(nonce, content, identity.encode())
        return f"{_MARK}.{key.row.id}.{base64.b64encode(sealed).decode()}"

    def open(
        self, connection: sa.Connection, rows: Iterable[dict[str, Any]], *columns: str
    ) -> list[dict[str, Any]]:
        """The rows with the text of `columns` (in each, its value, the row's id and how it is
        kept) as it was: `("input", "id", "kept")` by threes.

        A text whose key is gone becomes empty and `removed`. Raises `VaultKeyLost`,
        `VaultKeyOther`.
        """
        opened = [dict(row) for row in rows]
        keys: dict[str, AESGCM | None] = {}
        for at in range(0, len(columns), 3):
            value, identity, kept = columns[at : at + 3]
            for row in opened:
                if row[kept] == "vault":
                    text = self._open(connection, keys, row[value], row[identity])
                    row[value], row[kept] = (text, "vault") if text is not None else ("", REMOVED)
        return opened

    def _open(
        self,
        connection: sa.Connection,
        keys: dict[str, AESGCM | None],
        sealed: str,
        identity: str,
    ) -> str | None:
        from cryptography.exceptions import InvalidTag

        _mark, _dot, rest = sealed.partition(".")
        name, _dot, content = rest.partition(".")
        if name not in keys:
            keys[name] = self._found(connection, name)
        cipher = keys[name]
        if cipher is None:
            return None
        given = base64.b64decode(content)
        try:
            text = cipher.decrypt(given[:NONCE_BYTES], given[NONCE_BYTES:], identity.encode())
        except InvalidTag:
            raise VaultKeyOther(self.path) from None
        return text.decode()

    def _found(self, connection: sa.Connection, name: str) -> AESGCM | None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        wrapped = connection.scalar(sa.text("SELECT wrapped FROM vault WHERE id = :i"), {"i": name})
        if wrapped is None:
            return None
        if not self.path.exists():
            raise VaultKeyLost(self.path)
        try:
            return AESGCM(
                self._master.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], name.encode())
            )
        except InvalidTag:
            raise VaultKeyOther(self.path) from None

    def _new(self, subject: str | None, at: float) -> SealingKey:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        name, key, nonce = os.urandom(8).hex(), os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES)
        wrapped = nonce + self._master.encrypt(nonce, key, name.encode())
        return SealingKey(VaultKeyRow(name, subject, wrapped, at), AESGCM(key))

    @cached_property
    def _master(self) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._master_key())

    def _master_key(self) -> bytes:
        """The 32 secret bytes, made for their owner alone where nothing was sealed before."""
        if not self.path.exists():
            with lock(self.path.with_suffix(".lock"), what=FILE, wait_seconds=10):
                if not self.path.exists():
                    with self._database.read() as connection:
                        if connection.scalar(sa.text("SELECT 1 FROM vault LIMIT 1")):
                            raise VaultKeyLost(self.path)
                    write_file(self.path, os.urandom(KEY_BYTES), mode=0o600)
        content = self.path.read_bytes()
        if len(content) != KEY_BYTES:
            raise VaultKeyLost(self.path)
        return content
