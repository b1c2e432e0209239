"""One request and its answer on a connection, with the two calls of ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

HIGH_WATER_BYTES = 65536
_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_BODILESS = frozenset({204, 304})


class BadAnswer(RuntimeError):
    """The app broke ASGI's rules, or a header holds what no header may; a mistake in the code."""


class Connection(Protocol):
    """What an exchange needs of its connection; see `PatientProtocol`."""

    def write(self, content: bytes) -> None: ...

    async def writable(self) -> None: ...

    def listen(self, wanted: bool) -> None: ...

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]: ...

    def answered(self, exchange: Exchange, keep_alive: bool) -> None: ...


class Exchange:
    """A request as it comes in and its answer as it goes out; `receive` and `send` are ASGI's."""

    def __init__(
        self, connection: Connection, scope: dict[str, Any], *, keep_alive: bool, expects: bool
    ) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.begun = False
        self.finished = False
        self._connection = connection
        self._expects = expects
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._more = True
        self._told_all = False
        self._gone = False
        self._broken = False
        self._waiter: asyncio.Future[None] | None = None
        self._head: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._left: int | None = None
        self._chunked = False
        self._bodiless = False

    # The request, as it comes

    def take(self, body: bytes) -> None:
        """A piece of the body; what nobody will read any more is dropped."""
        if self.finished:
            return
        self._pieces.append(body)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > HIGH_WATER_BYTES:
            self._connection.listen(False)
        self._wake()

    def took_all(self) -> None:
        """The body has ended."""
        self._more = False
        self._wake()

    def broken(self) -> None:
        """What came behind was no HTTP: an unfinished request stays so, and no other follows."""
        self.keep_alive = False
        self._broken = self._more
        self._wake()

    def lost(self) -> None:
        """The client has gone."""
        self._gone = True
        self._wake()

    def whole(self) -> bytes | None:
        """The whole body, if it has arrived and nobody has read of it; it is read then. Without a
        wait, so without a timer for it."""
        if self._more or self._told_all or self._gone:
            return None
        self._told_all = True
        pieces, self._pieces, self._waiting_bytes = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def receive(self) -> dict[str, Any]:
        """The next piece of the body; after the last, waits until the exchange is over."""
        if self._expects and not self.begun:
            self._expects = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self._gone or self.finished):
            if self._pieces or not (self._more or self._told_all):
                body = b"".join(self._pieces)
                self._pieces, self._waiting_bytes = [], 0
                self._told_all = not self._more
                return {"type": "http.request", "body": body, "more_body": self._more}
            if self._broken:
                break
            self._connection.listen(True)
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return {"type": "http.disconnect"}

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The answer, as it goes

    async def send(self, message: Any) -> None:
        """Sends the head together with the first piece of the body, then the other pieces."""
        if self.finished:
            raise BadAnswer(f"{message['type']} behind the end of the answer")
        if message["type"] == "http.response.start":
            if self.begun:
                raise BadAnswer("a second head")
            self.begun = True
            self._head = message["status"], list(message.get("headers", ()))
            return
        if message["type"] != "http.response.body" or not self.begun:
            raise BadAnswer(f"{message['type']} before the head")
        body, more = message.get("body", b""), message.get("more_body", False)
        content = self._framed(bytes(body), more)
        if not self._gone:
            self._connection.write(content)
        if not more:
            self._end()
        elif not self._gone:
            await self._connection.writable()

    def _end(self) -> None:
        if self._left:
            # The client waits for more: only the end of the connection tells it.
            self.keep_alive = False
        self.finished = True
        self._wake()
        if not self._gone:
            self._connection.answered(self, self.keep_alive and not self._more)

    def _framed(self, body: bytes, more: bool) -> bytes:
        start = b""
        if self._head is not None:
            status, headers = self._head
            self._head = None
            start = self._begin(status, headers, None if more else len(body))
        if self._left is not None:
            if len(body) > self._left:
                raise BadAnswer("the body is longer than its Content-Length")
            self._left -= len(body)
        elif self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body = piece if more else piece + b"0\r\n\r\n"
        elif self._bodiless:
            body = b""
        return start + body

    def _begin(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> bytes:
        """The head; how the body will end is decided with it."""
        names = dict(headers)
        self._bodiless = self.scope["method"] == "HEAD" or status in _BODILESS
        if b"close" in names.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive or self._more:
            # What is left of the request would be taken for the next one.
            self.keep_alive = False
            headers.append((b"connection", b"close"))
        if not self._bodiless:
            given = names.get(b"content-length")
            if given is not None:
                self._left = int(given)
            elif length is not None:
                self._left = length
                headers.append((b"content-length", b"%d" % length))
            elif self.scope["http_version"] == "1.1":
                self._chunked = True
                headers.append((b"transfer-encoding", b"chunked"))
            else:
                self.keep_alive = False
        return head_of(status, [*self._connection.default_headers, *headers])


def head_of(status: int, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """The bytes of an answer's head; raises `BadAnswer` where a header would make two."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines) or b"\0" in head:
        raise BadAnswer("a header with a line break or a NUL")
    return _LINES[status] + head + b"\r\n"
