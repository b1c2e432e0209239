"""The text of an API key: `fw_ID_SECRET`, the last eight digits of which are a checksum.

The id has 12 hex digits and names the key; the secret has 64, 256 random bits. The checksum is
the CRC-32 of what stands before it: it finds every wrong character, every two swapped and nearly
every lost one, so that a typo is told without looking anything up. It keeps no secret: who
invents a key can compute it. Keys made before there was a checksum have none, and stay valid.
"""

from __future__ import annotations

import re
import secrets
import zlib
from typing import NamedTuple

PREFIX = "fw"
_WITH_CHECKSUM = re.compile(r"fw_[0-9a-f]{12}_[0-9a-f]{72}")
_WITHOUT = re.compile(r"fw_[0-9a-f]{12}_[0-9a-f]{64}")
_CHECKSUM_DIGITS = 8


class KeyText(NamedTuple):
    """A key's text in two: the id, which may be seen, and the rest, which is hashed."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"{PREFIX}_{self.id}_{self.secret}"

    def __repr__(self) -> str:
        return f"KeyText({self.id})"


def new_text(identity: str = "") -> KeyText:
    """A new text, for a new key or for the key with that id."""
    identity = identity or secrets.token_hex(6)
    secret = secrets.token_hex(32)
    return KeyText(identity, secret + _checksum(f"{PREFIX}_{identity}_{secret}"))


def read_text(text: str) -> KeyText | None:
    """The two halves, or None where no key can have this text: it is no key, or mistyped."""
    if _WITH_CHECKSUM.fullmatch(text):
        if text[-_CHECKSUM_DIGITS:] != _checksum(text[:-_CHECKSUM_DIGITS]):
            return None
    elif not _WITHOUT.fullmatch(text):
        return None
    _prefix, identity, secret = text.split("_")
    return KeyText(identity, secret)


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
