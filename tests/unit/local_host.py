"""A web server on 127.0.0.1 that answers what a test wrote down, and remembers who asked."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

CERTIFICATE = Path(__file__).with_name("news.example.pem")
"""A key and a certificate for the name news.example, which signs itself; of no use elsewhere."""


class Asked(NamedTuple):
    """One request that came in; the query's first value of each name, headers in lower case."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes = b""


Page = Callable[[Asked], tuple[int, Mapping[str, str], bytes]]


class LocalHost:
    """`pages` by path; anything else is a 404. `asked` has every request, oldest first."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, Page] = {}
        self.asked: list[Asked] = []

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/") -> str:
        return f"http://{self.place}{path}"

    def answer(
        self, path: str, body: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answers `path` with bytes, text, or anything else as JSON."""
        if not isinstance(body, str | bytes):
            body = json.dumps(body, ensure_ascii=False)
        content = body.encode() if isinstance(body, str) else body
        self.pages[path] = lambda _asked: (status, headers or {}, content)


@contextlib.contextmanager
def local_host(*, tls: bool = False) -> Iterator[LocalHost]:
    """A server on a free port, gone after the block."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            length = int(self.headers.get("Content-Length", 0))
            named = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(url.path, query, named, self.rfile.read(length))
            host.asked.append(asked)
            page = host.pages.get(url.path)
            status, headers, body = page(asked) if page else (404, {}, b"nothing here")
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304 and "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # A client that has read enough hangs up.
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_arguments: Any) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_arguments: Any) -> None:
            return

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        host = LocalHost(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()
