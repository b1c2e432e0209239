"""Heads of requests that were let through and answered, to be told again byte for byte."""

from __future__ import annotations

from typing import NamedTuple

from starlette.types import Scope

from feilun.core.i18n import accepted
from feilun.service.access import bearer, digest_of
from feilun.service.headers import Headers
from feilun.service.timeouts import asked_seconds

MOST = 1024
"""Heads that are known; when there are more, all are forgotten."""
_PLAIN = {
    b"host", b"authorization", b"content-type", b"content-length", b"accept", b"accept-encoding",
    b"accept-language", b"connection", b"user-agent", b"x-request-timeout-seconds",
}  # fmt: skip
"""Headers that change nothing about how a request is answered, or are known with the head."""
_LENGTHS = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_MOST_DIGITS = 8


class Head(NamedTuple):
    """What is known of a head: it before and behind the length of the body, the digest of its
    key's text, the language of its errors, and after how many seconds its answer is of no use."""

    first: bytes
    last: bytes
    key: bytes
    language: str | None
    seconds: float | None


class KnownHeads:
    """Heads that begin with the line `first` and differ in nothing but the length of the body
    from one that was let through."""

    def __init__(self, first: bytes) -> None:
        self._first = first
        self._known: dict[tuple[bytes, bytes], Head] = {}

    def __len__(self) -> int:
        return len(self._known)

    def learn(self, head: bytes, scope: Scope, headers: Headers) -> None:
        """The head of a request that was let through, if it is a plain one."""
        lines = head[:-4].split(b"\r\n")
        given = [_header(line) for line in lines[1:]]
        names = {name for name, _value in given}
        plain = (
            lines[0] == self._first
            and given == list(scope["headers"])
            and len(names) == len(given)
            and names <= _PLAIN
            and headers.get("connection", "keep-alive").lower() == "keep-alive"
            and "text/html" not in headers.get("accept", "")
        )
        parts = _parts(head)
        if not plain or parts is None:
            return
        if len(self._known) >= MOST:
            self._known.clear()
        language = headers.get("accept-language")
        self._known[parts[:2]] = Head(
            *parts[:2],
            digest_of(bearer(headers["authorization"])),
            None if language is None else accepted(language),
            asked_seconds(headers),
        )

    def found(self, data: bytes) -> tuple[Head, bytes] | None:
        """The head and the body of `data`, if that is one whole request with a known head."""
        parts = _parts(data)
        if parts is None:
            return None
        head = self._known.get(parts[:2])
        return None if head is None or parts[2] != len(parts[3]) else (head, parts[3])


def _parts(data: bytes) -> tuple[bytes, bytes, int, bytes] | None:
    """What begins with a request, as its head before and behind the number of its length, that
    number, and what follows the head; None where there is no such head."""
    end = data.find(b"\r\n\r\n")
    for name in _LENGTHS:
        at = data.find(name, 0, end)
        if at >= 0:
            at += len(name)
            stop = data.find(b"\r", at)
            number = data[at:stop]
            if not number.isdigit() or len(number) > _MOST_DIGITS:
                return None
            return data[:at], data[stop:end], int(number), data[end + 4 :]
    return None


def _header(line: bytes) -> tuple[bytes, bytes]:
    name, _sep, value = line.partition(b":")
    return name.lower(), value.strip(b" \t")
