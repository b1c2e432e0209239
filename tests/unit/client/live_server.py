"""A real service on a real port, and a proxy before it that fails as it is told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Self

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp

from feilun.service.protocol import PatientProtocol

CUT_BEFORE, CUT_AFTER, GARBAGE = "cut before", "cut after", "garbage"


@contextmanager
def listening(app: ASGIApp, http: Any = "auto") -> Iterator[int]:
    """The port on which the app answers within the block; `http`: another protocol than
    uvicorn's own."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        config = uvicorn.Config(
            app, http=http, log_config=None, ws="none", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)


def as_served(app: FastAPI) -> Any:
    """The protocol that `feilun serve` speaks for this app."""
    return partial(PatientProtocol, express=app.state.express)


class Line:
    """One connection that is kept, and nothing between it and the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._rest = b""  # of what came behind an answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def ask(self, first: str, body: bytes = b"", **headers: str) -> int:
        """The status of a request; its first line is without the version."""
        return self.said(first, body, **headers)[0]

    def said(self, first: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """The status and the body of the answer; who hangs up after it is called again."""
        self.send(first, body, **headers)
        return self.hear()

    def raw(self, first: str, body: bytes = b"", **headers: str) -> bytes:
        """The whole answer to a request."""
        self.send(first, body, **headers)
        return b"\r\n\r\n".join(self._heard())

    def send(self, first: str, body: bytes = b"", **headers: str) -> None:
        """Sends a request and waits for nothing."""
        self.pass_on(self.written(first, body, **headers))

    @staticmethod
    def written(first: str, body: bytes = b"", **headers: str) -> bytes:
        """A request as it is sent."""
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([f"{first} HTTP/1.1", *lines, "", ""]).encode() + body

    def pass_on(self, content: bytes) -> None:
        """Sends bytes as they are."""
        if self._socket is None:
            self._socket = self._connected()
        self._socket.sendall(content)

    def hear(self) -> tuple[int, bytes]:
        """The status and the body of the next answer."""
        head, content = self._heard()
        return int(head.split(b" ", 2)[1]), content

    def hang_up(self) -> None:
        """Closes the connection; the next request makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _heard(self) -> tuple[bytes, bytes]:
        answer, self._rest = self._rest, b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _sep, content = answer.partition(b"\r\n\r\n")
        said = head.lower()
        if b"transfer-encoding: chunked" in said:
            while not content.endswith(b"0\r\n\r\n"):
                content += self._more()
        else:
            length = int(said.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(content) < length:
                content += self._more()
            content, self._rest = content[:length], content[length:]
        if b"connection: close" in said:
            self.hang_up()
        return head, content

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=100)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def _more(self) -> bytes:
        assert self._socket is not None
        piece = self._socket.recv(65536)
        assert piece, "the server hung up"
        return piece


class Proxy:
    """Passes connections on to a port, one request each; the next ones fail as `faults` says:
    cut before the request is passed on, cut after the server has answered (so that it was done,
    and nobody knows), or an answer that is no HTTP; bytes are answered in the server's place."""

    def __init__(self, port: int) -> None:
        self.faults: list[str | bytes | None] = []
        self.connections = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            fault = self.faults.pop(0) if self.faults else None
            threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: str | bytes | None) -> None:
        with client, suppress(OSError):
            client.settimeout(30)
            if fault == CUT_BEFORE:
                return
            asked = _request(client)
            if fault == GARBAGE:
                client.sendall(b"220 mail.example ESMTP\r\n")
                return
            if isinstance(fault, bytes):
                client.sendall(fault)
                return
            with socket.create_connection(("127.0.0.1", self._port), timeout=100) as server:
                server.sendall(asked)
                while piece := server.recv(65536):
                    if fault != CUT_AFTER:
                        client.sendall(piece)


def _request(client: socket.socket) -> bytes:
    """One whole request, which asks for the connection to be closed after it."""
    asked = b""
    while b"\r\n\r\n" not in asked:
        piece = client.recv(65536)
        if not piece:
            raise ConnectionError
        asked += piece
    head, _sep, body = asked.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    sizes = [line for line in lines if line.lower().startswith(b"content-length:")]
    size = int(sizes[0].partition(b":")[2]) if sizes else 0
    while len(body) < size:
        body += client.recv(65536)
    return b"\r\n".join([*lines, b"connection: close"]) + b"\r\n\r\n" + body


def answer(status: int, body: str = "", **headers: str) -> bytes:
    """An HTTP answer as bytes."""
    content = body.encode()
    told = {**headers, "content-length": str(len(content)), "connection": "close"}
    lines = [f"HTTP/1.1 {status} X", *(f"{k.replace('_', '-')}: {v}" for k, v in told.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content
