"""A real service on a real port, and a proxy before it that fails as it is told to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

CUT_BEFORE, CUT_AFTER, GARBAGE = "cut before", "cut after", "garbage"


@contextmanager
def listening(app: ASGIApp) -> Iterator[int]:
    """The port on which the app answers within the block."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=5)
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
            with socket.create_connection(("127.0.0.1", self._port), timeout=30) as server:
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
