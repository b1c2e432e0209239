"""The client of serve.py, a process of its own: requests over kept connections, as raw as can be.

Server and client share the machine's processors, so what the client takes is taken from every
server alike; it is measured and told. Its task comes as JSON on stdin, its figures go to stdout.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

CONNECTIONS_MOST = 4000
ANSWER_SECONDS = 60.0
TICK_SECONDS = 0.002
"""How often the open loop sends what is due and takes what has come."""


class Task(NamedTuple):
    """What to send for how long: `clients` connections that each send the next request when the
    last is answered, or, with `rate`, so many requests a second on up to `CONNECTIONS_MOST`
    connections, whatever is answered."""

    port: int
    path: str
    headers: dict[str, str]
    bodies: str  # a file of JSON, a body per line
    seconds: float
    clients: int
    rate: float | None = None
    first: int = 0


class Connection:
    """A kept connection with at most one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.sent_at = 0.0
        self.busy = False
        self._received = b""

    def send(self, request: bytes, now: float) -> None:
        self.sent_at, self.busy = now, True
        self.socket.send(request)

    def receive(self) -> tuple[int, bool] | None:
        """The status of a whole answer and whether the connection stays; None: not yet whole."""
        piece = self.socket.recv(262144)
        if not piece:
            return 0, False
        data = self._received + piece if self._received else piece
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head = data[: end + 2].lower()
            at = head.find(b"\r\ncontent-length:")
            if at >= 0:
                length = int(head[at + 17 : head.find(b"\r\n", at + 2)])
                whole = len(data) >= end + 4 + length
            else:
                whole = data.endswith(b"0\r\n\r\n")
            if whole:
                self._received, self.busy = b"", False
                return int(data[9:12]), b"connection: close" not in head
        self._received = data
        return None


class Load:
    """One run of a task."""

    def __init__(self, task: Task) -> None:
        self.task = task
        lines = Path(task.bodies).read_bytes().splitlines()
        extra = "".join(f"{name}: {value}\r\n" for name, value in task.headers.items())
        self._requests = [
            (
                f"POST {task.path} HTTP/1.1\r\nHost: 127.0.0.1:{task.port}\r\n{extra}"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode()
            + body
            for body in lines
        ]
        self._next = task.first
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._idle: list[Connection] = []
        self._busy = 0
        self.statuses: dict[int, int] = {}
        self.seconds_of: dict[bool, list[float]] = {True: [], False: []}

    def run(self) -> dict[str, Any]:
        before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        if self.task.rate is None:
            self._closed_loop(started + self.task.seconds)
        else:
            self._open_loop(started, self.task.rate)
        seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_SELF)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        good, bad = sorted(self.seconds_of[True]), sorted(self.seconds_of[False])
        return {
            "requests_per_second": len(good) / seconds,
            "statuses": self.statuses,
            "p50_ms": _quantile(good, 0.5), "p99_ms": _quantile(good, 0.99),
            "refused_p99_ms": _quantile(bad, 0.99),
            "seconds": seconds, "client_processor_seconds": processor,
        }  # fmt: skip

    def _closed_loop(self, end: float) -> None:
        for _number in range(self.task.clients):
            self._send(self._connected(), time.perf_counter())
        while self._busy:
            for connection in self._answered(1.0):
                now = time.perf_counter()
                if now < end:
                    self._send(connection, now)
            if time.perf_counter() > end + ANSWER_SECONDS:
                self._give_up()

    def _open_loop(self, started: float, rate: float) -> None:
        sent, wanted = 0, int(rate * self.task.seconds)
        end = started + self.task.seconds
        while sent < wanted or self._busy:
            now = time.perf_counter()
            due = min(wanted, int((now - started) * rate) + 1)
            while sent < due:
                connection = self._idle_one()
                if connection is None and len(self._open) < CONNECTIONS_MOST:
                    connection = self._connected()
                if connection is None:
                    # Everybody waits: a client that would have come finds no door.
                    self._count(0, 0.0)
                else:
                    # Counted from when it should have been sent: a late client hides nothing.
                    self._send(connection, started + sent / rate)
                sent += 1
            # Woken by every single answer, it would take two fifths more from the servers.
            time.sleep(TICK_SECONDS)
            self._idle.extend(self._answered(0.0))
            if time.perf_counter() > end + ANSWER_SECONDS:
                self._give_up()

    def _idle_one(self) -> Connection | None:
        """One that waits for a request; those that the server has hung up since are no use."""
        while self._idle:
            connection = self._idle.pop()
            if connection.socket.fileno() in self._open:
                return connection
        return None

    def _connected(self) -> Connection:
        connection = Connection(self.task.port)
        self._open[connection.socket.fileno()] = connection
        self._poll.register(connection.socket.fileno(), select.EPOLLIN)
        return connection

    def _send(self, connection: Connection, at: float) -> None:
        request = self._requests[self._next % len(self._requests)]
        self._next += 1
        try:
            connection.send(request, at)
            self._busy += 1
        except OSError:
            self._count(0, 0.0)
            self._drop(connection)

    def _answered(self, wait: float) -> list[Connection]:
        """The connections whose answers came, ready for the next request."""
        ready = []
        for descriptor, _event in self._poll.poll(wait):
            connection = self._open[descriptor]
            was_busy = connection.busy
            try:
                found = connection.receive()
            except OSError:
                found = 0, False
            if found is None:
                continue
            status, stays = found
            if was_busy:
                self._busy -= 1
                self._count(status, time.perf_counter() - connection.sent_at)
            if stays:
                ready.append(connection)
            else:
                self._drop(connection)
                if self.task.rate is None:
                    ready.append(self._connected())
        return ready

    def _drop(self, connection: Connection) -> None:
        self._open.pop(connection.socket.fileno(), None)
        connection.socket.close()

    def _give_up(self) -> None:
        for connection in list(self._open.values()):
            if connection.busy:
                self._count(0, ANSWER_SECONDS)
                self._drop(connection)
        self._busy = 0

    def _count(self, status: int, seconds: float) -> None:
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.seconds_of[status == 200].append(seconds)


def _quantile(values: list[float], share: float) -> float | None:
    """The nearest rank, in milliseconds; None of nothing."""
    if not values:
        return None
    return round(values[min(len(values) - 1, int(share * len(values)))] * 1000, 3)


def main() -> None:
    print(json.dumps(Load(Task(**json.load(sys.stdin))).run()))


if __name__ == "__main__":
    main()
