"""A chat server on this machine that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What the server sends back."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed
    pause: float = 0.0


class Chat(NamedTuple):
    """The server's address, and what it was sent: (headers, body) of each request."""

    url: str
    requests: list[tuple[dict[str, str], dict[str, Any]]]
    most_at_once: list[int]


def said(text: object, **more: object) -> Reply:
    """A chat completion with this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}} | more
    body = {"choices": [choice], "usage": {"total_tokens": 7}}
    return Reply(content=json.dumps(body).encode())


@contextmanager
def chat_server(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[Chat]:
    """Serves while the block lasts; `answer` is given a request's body and its number."""
    requests: list[tuple[dict[str, str], dict[str, Any]]] = []
    most_at_once, busy, lock, over = [0], [0], threading.Lock(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                requests.append((dict(self.headers), body | {"path": self.path}))
                number = len(requests)
                busy[0] += 1
                most_at_once[0] = max(most_at_once[0], busy[0])
            reply = answer(body, number)
            over.wait(reply.pause)
            with lock:
                busy[0] -= 1
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.content)))
            self.end_headers()
            self.wfile.write(reply.content)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that has gone is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield Chat(f"http://127.0.0.1:{server.server_port}/v1", requests, most_at_once)
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
