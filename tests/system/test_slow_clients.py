"""Clients that send, or take, a byte a second: cut in time, and nobody waits for them."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.evidence import Evidence
from tests.service_process import Connection, Server, quantile, serving

from feilun.wheel.project import Project

SLOW_CLIENTS, ALLOWED_SECONDS, GOOD_CLIENTS = 200, 4.0, 4
LOWERED = """
from feilun.service import bodies, protocol
protocol.HEAD_SECONDS = protocol.SEND_SECONDS = {seconds}
bodies.read.__defaults__ = ({seconds},)
"""
"""The times of heads, answers and bodies, which are 10, 30 and 10 seconds, so that a test need not
last for half a minute."""
KINDS = ("a head", "a body", "an answer")
MIXTURE = KINDS[:2] * 4 + KINDS[2:]
"""Fewer of those who take answers: each is made megabytes of them before the kernel is full."""


class SlowClient:
    """A connection that sends or takes one byte at each `step`."""

    def __init__(self, server: Server, kind: str) -> None:
        head = (
            f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Authorization: Bearer {server.key}\r\nContent-Type: application/json\r\n"
            "Content-Length: 1000\r\n\r\n"
        ).encode()
        page = f"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode()
        self.kind = kind
        self.socket = socket.socket()
        # Little room, so that the server's own buffers are what fills.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.connect(("127.0.0.1", server.port))
        self._left = {"a head": head, "a body": b" " * 1000, "an answer": b""}[kind]
        first = {"a head": b"", "a body": head, "an answer": page * 40}[kind]
        self.socket.sendall(first)
        self._since = time.monotonic()
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN | select.POLLRDHUP)
        self.socket.setblocking(False)
        self.cut_after: float | None = None

    def look(self) -> None:
        """Notes when the server has hung up."""
        if self.cut_after is None and self._gone():
            self.cut_after = time.monotonic() - self._since

    def step(self) -> None:
        """One byte."""
        if self.cut_after is not None:
            return
        with suppress(OSError):
            if self.kind == "an answer":
                self.socket.recv(1)
            else:
                self.socket.send(self._left[:1])
                self._left = self._left[1:]

    def _gone(self) -> bool:
        told = dict(self._poll.poll(0)).get(self.socket.fileno(), 0)
        if self.kind != "an answer" and told & select.POLLIN:
            with suppress(BlockingIOError, ConnectionError):
                # What it is told, which it takes, is why.
                self.socket.recv(65536)
        return bool(told & (select.POLLERR | select.POLLHUP | select.POLLRDHUP))


class Good(NamedTuple):
    """What good clients met."""

    statuses: set[int]
    seconds: list[float]


async def good(server: Server, until: float, over: Callable[[], bool] = lambda: False) -> Good:
    """Clients that ask one thing after the other, with a breath between, unless it is `over`."""
    found = Good(set(), [])

    async def client() -> None:
        connection = Connection(server.port, server.key)
        while time.monotonic() < until and not over():
            before = time.monotonic()
            found.statuses.add((await connection.classify("好")).status)
            found.seconds.append(time.monotonic() - before)
            await asyncio.sleep(0.01)
        await connection.close()

    await asyncio.gather(*[client() for _number in range(GOOD_CLIENTS)])
    return found


def besieged(server: Server, count: int, seconds: float) -> tuple[list[SlowClient], Good]:
    """Slow clients of every kind until all are cut, at most some seconds, and what good ones met
    meanwhile."""
    slow = [SlowClient(server, MIXTURE[number % len(MIXTURE)]) for number in range(count)]

    def all_cut() -> bool:
        return all(client.cut_after is not None for client in slow)

    async def dribble(until: float) -> None:
        stepped = 0.0
        while time.monotonic() < until and not all_cut():
            for client in slow:
                client.look()
            if time.monotonic() >= stepped + 1.0:
                stepped = time.monotonic()
                for client in slow:
                    client.step()
            await asyncio.sleep(0.1)

    async def both() -> Good:
        until = time.monotonic() + seconds
        found, _none = await asyncio.gather(good(server, until, all_cut), dribble(until))
        return found

    found = asyncio.run(both())
    for client in slow:
        client.look()
        client.socket.close()
    return slow, found


def serve_with(folder: Path, seconds: float) -> tuple[str, str]:
    """A key, and the code that sets the times."""
    with Project.open(folder) as project:
        return project.keys.add("load"), LOWERED.format(seconds=seconds)


@pytest.mark.slow
def test_slow_clients_are_cut_and_nobody_waits(project_folder: Path, evidence: Evidence) -> None:
    key, changed = serve_with(project_folder, ALLOWED_SECONDS)
    with serving(project_folder, changed=changed) as running:
        server = running._replace(key=key)
        asyncio.run(good(server, time.monotonic() + 0.5))  # warms up
        alone = asyncio.run(good(server, time.monotonic() + 2.0))
        slow, beside = besieged(server, SLOW_CLIENTS, 10 * ALLOWED_SECONDS)
        assert "Traceback" not in server.said()
    still = {client.kind for client in slow if client.cut_after is None}
    assert not still, f"who dribbles {still} is not cut"
    longest = {
        kind: max(client.cut_after or 0.0 for client in slow if client.kind == kind)
        for kind in KINDS
    }
    assert alone.statuses == beside.statuses == {200}
    before, during = (quantile(one.seconds, 0.99) for one in (alone, beside))
    # Whoever waited for a slow client would wait until that is cut.
    assert during < ALLOWED_SECONDS / 2
    evidence(
        9,
        f"{SLOW_CLIENTS} connections at a byte a second, {ALLOWED_SECONDS:.0f} s allowed "
        "(otherwise 10 s for heads and bodies, 30 s for answers): all cut, at the latest after "
        + ", ".join(f"{seconds:.1f} s ({kind})" for kind, seconds in longest.items()),
    )
    evidence(
        9,
        f"p99 of {GOOD_CLIENTS} good clients {during * 1000:.0f} ms beside them, "
        f"{before * 1000:.0f} ms alone; {len(beside.seconds)} requests, none failed",
    )


@pytest.mark.slow
def test_without_the_times_nobody_would_be_cut(project_folder: Path, evidence: Evidence) -> None:
    """Negative control: the same clients, and a server that has an hour for each."""
    key, changed = serve_with(project_folder, 3600.0)
    with serving(project_folder, changed=changed) as server:
        slow, _found = besieged(server._replace(key=key), 30, 1.5 * ALLOWED_SECONDS)
    still = [client for client in slow if client.cut_after is None]
    assert {client.kind for client in still} == set(KINDS)
    evidence.control(
        9,
        f"where an hour is allowed {len(still)} of {len(slow)} are still there after "
        f"{1.5 * ALLOWED_SECONDS:.0f} s",
    )
