"""HTTP/1.1 on one connection: heads within a size and a time, each request handed to the app.

The parser is llhttp, in C. What it parses becomes an `Exchange`; the app answers that as ASGI.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn import Config
from uvicorn.server import ServerState

from feilun.core.i18n import _
from feilun.service.errors import InternalError, Malformed, answer, ours
from feilun.service.exchange import Exchange, head_of
from feilun.service.express import Express, Request

HEAD_SECONDS = 10.0
SEND_SECONDS = 30.0
MAX_HEAD_BYTES = 65536
MAX_PIPELINED = 1000
_LOOK_SECONDS = 1.0
_NEVER = float("inf")


class BadHead(ValueError):
    """A request's head is too large, names two hosts, or is one too many in a pipeline."""


class PatientProtocol(asyncio.Protocol):
    """A connection to a client.

    It is closed when a head is not complete `HEAD_SECONDS` after it began (the first one: after
    the connection was made), when no request comes for the server's keep-alive time, and when an
    answer has not been taken for `SEND_SECONDS`. Heads of more than `MAX_HEAD_BYTES`, and what is
    not HTTP, are answered in our shape, then the connection is closed. Pipelined requests are
    answered in their order.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        express: Express | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        self._app = config.loaded_app
        self._loop = _loop or asyncio.get_event_loop()
        self._server = server_state
        self._app_state = app_state
        self._keep_alive_seconds = config.timeout_keep_alive
        self._express = express
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = True
        self._head_bytes = 0
        self._head: bytes | None = None  # of the request that begins now, where it came in one
        self._reading: Exchange | None = None  # whose body comes in
        # The first is being answered; one that is on the express way is alone when it begins.
        self._open: deque[Exchange | Request] = deque()
        self._deaf = False
        self._listens = True
        self._deadline = _NEVER
        self._stalled_at = _NEVER
        self._writable: asyncio.Future[None] | None = None
        self._out = False
        self._descriptor = -1
        self._timer: asyncio.TimerHandle | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._server.connections.add(self)  # type: ignore[arg-type]
        self._client, self._here = (
            tuple(address[:2]) if isinstance(address, tuple) else None
            for address in map(transport.get_extra_info, ("peername", "sockname"))
        )
        self._deadline = self._loop.time() + HEAD_SECONDS
        self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._take_back()
        for exchange in self._open:
            exchange.lost()
        self.resume_writing()

    def eof_received(self) -> None:
        """Nothing: a client that has sent all may still want its answer."""

    def pause_writing(self) -> None:
        self._stalled_at = self._loop.time()
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._stalled_at = _NEVER
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._in_head:
            first = self._head_bytes == 0 and not self._open
            if self._express is not None and first and self._writable is None:
                if self._express.take(self, data):
                    return
                end = data.find(b"\r\n\r\n")
                self._head = data[: end + 4] if end >= 0 else None
            if self._head_bytes == 0 and not self._open:
                # It no longer waits for a request, but for the rest of its head.
                self._deadline = min(self._deadline, self._loop.time() + HEAD_SECONDS)
            self._head_bytes += len(data)
        try:
            self._feed(data)
            if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
                raise BadHead
        except (httptools.HttpParserError, ValueError):
            self._refuse()

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # No other protocol is spoken here; a request that offers one is answered as any.
                # The parser leaves its body, which must not be taken for a request: it is parsed
                # again, without the offer.
                data = self._without_offer() + data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
            else:
                return

    def _without_offer(self) -> bytes:
        lines = [b"%b %b HTTP/1.1\r\n" % (self._parser.get_method(), self._url)]
        lines += [
            b"%b: %b\r\n" % header
            for header in self._headers
            if header[0] not in {b"connection", b"upgrade"}
        ]
        return b"".join(lines) + b"\r\n"

    # What the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = True
        self._size = 0
        self._expects = False
        self._hosts = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > MAX_HEAD_BYTES:
            raise BadHead

    def on_header(self, name: bytes, value: bytes) -> None:
        self._size += len(name) + len(value) + 4
        if self._size > MAX_HEAD_BYTES:
            raise BadHead
        if not self._in_head:
            return  # Behind a body: they must not be taken for those that the gate has seen.
        name = name.lower()
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self._expects = value.lower() == b"100-continue"
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._hosts > 1 or len(self._open) >= MAX_PIPELINED:
            raise BadHead
        if self._parser.should_upgrade():
            if self._parser.get_method() == b"CONNECT":
                raise BadHead
            return
        raw_path, _sep, query = self._url.partition(b"?")
        path = raw_path.decode("ascii")
        version = self._parser.get_http_version()
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "server": self._here,
            "client": self._client,
            "state": self._app_state.copy(),
        }
        keep_alive = version != "1.0" and self._parser.should_keep_alive()
        exchange = Exchange(self, scope, keep_alive=keep_alive, expects=self._expects)
        scope["extensions"] = {"feilun.whole": exchange.whole, "feilun.head": self._head}
        self._head = None
        self._in_head, self._head_bytes = False, 0
        self._deadline = _NEVER
        self._reading = exchange
        self._open.append(exchange)
        if len(self._open) == 1:
            self._start(exchange)
        else:
            self.listen(False)

    def on_body(self, body: bytes) -> None:
        if self._reading is not None:
            self._reading.take(body)

    def on_message_complete(self) -> None:
        if self._reading is not None:
            self._reading.took_all()
        self._reading = None
        self._in_head = True

    # What an exchange calls

    def write(self, content: bytes) -> None:
        """Sends, or buffers what cannot be sent now."""
        self.transport.write(content)

    @property
    def clear(self) -> bool:
        """Whether what is sent on the socket now comes behind everything that was written."""
        return not (self.transport.get_write_buffer_size() or self.transport.is_closing())

    async def writable(self) -> None:
        """Waits while the client takes nothing."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def begun(self, request: Request) -> None:
        """A request on the express way, that nothing else is to be answered before."""
        self._deadline = _NEVER
        self._open.append(request)

    def listen(self, wanted: bool) -> None:
        """Whether more of the request is to be read from the connection."""
        if wanted == self._listens or self.transport.is_closing():
            return
        self._listens = wanted
        if wanted:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Those of every answer: the date."""
        return self._server.default_headers

    def answered(self, exchange: Exchange | Request, keep_alive: bool) -> None:
        """Goes on with the next request, or hangs up."""
        self._server.total_requests += 1
        self._open.popleft()
        if not keep_alive:
            self._close()
        elif self._open:
            self._start(self._open[0])
        else:
            if self._reading is None:
                wait = HEAD_SECONDS if self._head_bytes else self._keep_alive_seconds
                self._deadline = self._loop.time() + wait
            self.listen(True)

    @property
    def descriptor(self) -> int:
        """The socket's."""
        if self._descriptor < 0:
            self._descriptor = self.transport.get_extra_info("socket").fileno()
        return self._descriptor

    # What the doorman calls

    def step_out(self) -> bool:
        """Reads no more until `step_in`, unless something is being read, answered or sent."""
        busy = self._open or self._head_bytes or self._deaf or not self._listens
        if busy or self._out or not self.clear:
            return False
        self._out = True
        self.transport.pause_reading()
        return True

    def step_in(self) -> None:
        """Reads again."""
        self._out = False
        if not self.transport.is_closing():
            self._deadline = self._loop.time() + self._keep_alive_seconds
            self.transport.resume_reading()

    # What Uvicorn's server calls

    def shutdown(self) -> None:
        """Hangs up once what was asked is answered."""
        if not self._open:
            self._close()
        for exchange in self._open:
            exchange.keep_alive = False

    # The rest

    def _start(self, exchange: Exchange | Request) -> None:
        assert isinstance(exchange, Exchange)
        task = self._loop.create_task(self._run(exchange))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _run(self, exchange: Exchange) -> None:
        try:
            # Who sends requests and takes no answers would fill the memory with them.
            await self.writable()
            if self.transport.is_closing():
                return
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:
            ours(error)
            if not exchange.begun:
                await answer(InternalError())(exchange.scope, exchange.receive, exchange.send)
        finally:
            if not exchange.finished:
                self._close()

    def _refuse(self) -> None:
        """Reads no further. What is being answered is answered; else the refusal is sent."""
        self._deaf = True
        for exchange in self._open:
            exchange.broken()
        if not self._open and not self.transport.is_closing():
            refusal = answer(Malformed(_("it is no HTTP request")))
            headers = [*refusal.raw_headers, (b"connection", b"close")]
            self.write(head_of(400, headers) + bytes(refusal.body))
            self._close()

    def _close(self) -> None:
        """Hangs up when what was written has been sent, or `SEND_SECONDS` later."""
        self._take_back()
        self._deaf = True
        self._deadline = self._loop.time() + SEND_SECONDS
        self.transport.close()

    def _cut(self) -> None:
        """Hangs up at once; what the client has not taken is dropped, the kernel's part of it too,
        which it would otherwise keep for minutes."""
        self._take_back()
        ours = self.transport.get_extra_info("socket")
        if ours is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _take_back(self) -> bool:
        """Whether the doorman had it until now."""
        if not self._out or self._express is None:
            return False
        # Once: its descriptor may be another connection's by the time it is asked again.
        self._out = False
        self._express.release(self)
        return True

    def _look(self) -> None:
        now = self._loop.time()
        late = now >= self._deadline
        if (late and self._deaf) or now >= self._stalled_at + SEND_SECONDS:
            self._cut()
            return
        if late and self._take_back():
            self.step_in()  # from when on it says nothing, nobody knows
        elif late:
            self._close()
        # A deadline is set further ahead than this looks again, so it is kept to the moment.
        wait = min(_LOOK_SECONDS, self._deadline - now)
        self._timer = self._loop.call_later(wait, self._look)
