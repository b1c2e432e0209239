"""The service as a process that tests start, load, kill and break on purpose; connections that can
tell an answer that was cut from a request that nobody took."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import httpx

HELPER = """
import json, sys
from feilun.core.errors import FeilunError
from feilun.service.run import serve
from feilun.wheel.project import Project

try:
    with Project.open(sys.argv[1]) as project:
        tell = lambda ready: print(json.dumps(ready), flush=True)
        serve(project, port=int(sys.argv[2]), on_ready=tell)
except FeilunError as error:
    print(error.code, error.remedy, error.message, file=sys.stderr)
    sys.exit(error.exit_code)
"""
SLOW = """
import time
from feilun.service import live

class Slow:
    def __init__(self, model):
        self.model, self.labels = model, model.labels

    def scores(self, inputs):
        time.sleep({each} * len(inputs))
        return self.model.scores(inputs)

loaded = live.load
live.load = lambda folder: Slow(loaded(folder))
"""
"""A model that takes `each` seconds for an input, so that a small machine can be overloaded by
another process of the same machine."""


class Server(NamedTuple):
    """A running process, where it listens and its first key."""

    process: subprocess.Popen[str]
    url: str
    port: int
    key: str | None
    errors: IO[str]

    @property
    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def said(self) -> str:
        """Everything that it wrote to stderr."""
        self.errors.seek(0)
        return self.errors.read()

    def memory_mb(self) -> float:
        """Its resident memory, in 10⁶ bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        fields = next(line for line in lines if line.startswith("VmRSS:")).split()
        return int(fields[1]) * 1024 / 1e6


def start(
    folder: Path,
    port: int = 0,
    *,
    changed: str = "",
    inside: Sequence[str] = (),
    errors: IO[str] | int = subprocess.PIPE,
) -> subprocess.Popen[str]:
    """A process of the service; the code `changed` runs in it first; `inside` is a command that
    runs it."""
    return subprocess.Popen(
        [*inside, sys.executable, "-c", changed + HELPER, str(folder), str(port)],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "FEILUN_LANG": "en"},
    )


@contextmanager
def serving(folder: Path, *, changed: str = "", inside: Sequence[str] = ()) -> Iterator[Server]:
    """As `start`, once it answers; killed after the block."""
    # A file: a pipe that nobody empties would stop a server that has much to say.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = start(folder, changed=changed, inside=inside, errors=errors)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            errors.seek(0)
            assert line, errors.read()
            url, _host, port, key, *_rest = json.loads(line)
            yield Server(process, url, port, key, errors)
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Answer(NamedTuple):
    """A whole answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Its body, which is JSON."""
        return json.loads(self.body)


class NotTaken(Exception):
    """The connection ended before a byte of the answer: nobody took the request."""


class Truncated(Exception):
    """The connection ended within an answer."""


class Connection:
    """One kept connection to 127.0.0.1, one request on its way at most; `key` goes with each."""

    def __init__(self, port: int, key: str | None = None) -> None:
        self._port = port
        self._heads = f"Host: 127.0.0.1:{port}\r\n"
        if key is not None:
            self._heads += f"Authorization: Bearer {key}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, given: Any = None, **headers: str) -> Answer:
        """The whole answer; raises `NotTaken`, `Truncated`."""
        body = b"" if given is None else given if isinstance(given, bytes) else _json(given)
        lines = self._heads
        if given is not None:
            headers.setdefault("content_type", "application/json")
            lines += f"Content-Length: {len(body)}\r\n"
        for name, value in headers.items():
            lines += f"{name.replace('_', '-')}: {value}\r\n"
        answer = None
        try:
            reader, writer = self._streams or await self.open()
            writer.write(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
            answer = await _heard(reader)
        except OSError:
            raise NotTaken from None
        finally:
            if answer is None or answer.headers.get("connection") == "close":
                await self.close()
        return answer

    async def classify(self, given: Any, **headers: str) -> Answer:
        """The answer to `POST /v1/classify`."""
        return await self.ask("POST", "/v1/classify", {"input": given}, **headers)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connects, as the first request does by itself."""
        self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        return self._streams

    async def close(self) -> None:
        """Hangs up; the next request opens it anew."""
        if self._streams is not None:
            writer, self._streams = self._streams[1], None
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _json(given: Any) -> bytes:
    return json.dumps(given, ensure_ascii=False).encode()


async def _heard(reader: asyncio.StreamReader) -> Answer:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        raise (Truncated if error.partial else NotTaken) from None
    first, *rest = head.rstrip().split("\r\n")
    headers = {name.lower(): value for name, _sep, value in (one.partition(": ") for one in rest)}
    try:
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
    except (asyncio.IncompleteReadError, OSError):
        raise Truncated from None
    return Answer(int(first.split()[1]), headers, body)


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
