"""A chat server on this machine that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Reply(NamedTuple):
    """What the server sends back: `content`, or `pieces` one by one, each once `next_piece` lets
    it go; with `cut` the connection ends where an end should be told."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed
    pause: float = 0.0
    pieces: tuple[bytes, ...] = ()
    next_piece: Callable[[int], object] = lambda _number: None
    cut: bool = False


class Chat(NamedTuple):
    """The server's address, and what it was sent: (headers, body) of each request."""

    url: str
    requests: list[tuple[dict[str, str], dict[str, Any]]]
    most_at_once: list[int]
    left: threading.Event
    """Set once a client has gone before the end of a stream."""


def said(text: object, **more: object) -> Reply:
    """A chat completion with this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}} | more
    body = {"choices": [choice], "usage": {"total_tokens": 7}}
    return Reply(content=json.dumps(body).encode())


def completion(text: object, *, usage: dict[str, int] | None = None, **more: object) -> Reply:
    """As `said`, as whole as a hosted model's answers are."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **more},
        "finish_reason": "stop",
    }
    body = {
        "id": "chatcmpl-theirs",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "gpt-theirs",
        "choices": [choice],
        "usage": usage or {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    return Reply(content=json.dumps(body).encode(), headers={"Content-Type": "application/json"})


def chunk(**delta: object) -> bytes:
    """One event of a stream; `finish_reason` stands beside the delta, `usage` alone."""
    finish, usage = delta.pop("finish_reason", None), delta.pop("usage", None)
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {
        "id": "chatcmpl-theirs",
        "object": "chat.completion.chunk",
        "created": 1790000000,
        "model": "gpt-theirs",
        "choices": [] if usage else choices,
        "usage": usage,
    }
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def streamed(*pieces: bytes, **more: Any) -> Reply:
    """A stream of these pieces, whatever they are."""
    return Reply(pieces=pieces, headers={"Content-Type": "text/event-stream"}, **more)


def told(*texts: str, **usage: int) -> Reply:
    """A whole stream that says these texts, and what it cost if that is given."""
    costs = (chunk(usage=usage),) if usage else ()
    end = (chunk(finish_reason="stop"), *costs, DONE)
    return streamed(chunk(role="assistant"), *(chunk(content=text) for text in texts), *end)


@contextmanager
def chat_server(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[Chat]:
    """Serves while the block lasts; `answer` is given a request's body and its number."""
    requests: list[tuple[dict[str, str], dict[str, Any]]] = []
    most_at_once, busy, lock, over = [0], [0], threading.Lock(), threading.Event()
    left = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

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
            if reply.pieces:
                self._stream(reply)
                return
            length = len(reply.content) + (1 if reply.cut else 0)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(reply.content)
            self.close_connection = self.close_connection or reply.cut

        def _stream(self, reply: Reply) -> None:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            try:
                for number, piece in enumerate(reply.pieces):
                    reply.next_piece(number)
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    self.wfile.flush()
                if not reply.cut:
                    self.wfile.write(b"0\r\n\r\n")
            except OSError:
                left.set()
                raise
            self.close_connection = self.close_connection or reply.cut

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
        yield Chat(f"http://127.0.0.1:{server.server_port}/v1", requests, most_at_once, left)
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
