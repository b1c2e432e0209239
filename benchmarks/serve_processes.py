"""The servers of serve.py as processes, and the client that asks them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from served import OFFLINE, children, memory

HERE = Path(__file__).parent
PEERS = HERE / "serve_peers"
PYTHON = HERE / ".venv-serve" / "bin" / "python"
START_SECONDS = 180.0
CLOCK = os.sysconf("SC_CLK_TCK")


class Way(NamedTuple):
    """How a server is started and asked: `{port}` in the command is its port; `body` is that of a
    request, in which `{text}` stands for the text as JSON."""

    command: tuple[str, ...]
    path: str
    body: str
    environment: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    folder: Path = HERE


class Server:
    """`with Server(way, texts, folder) as server: server.load(…)`: it answers when this is there.

    `cold_start_seconds`: from the start of the process to its first answer.
    """

    def __init__(self, name: str, way: Way, texts: Sequence[str], folder: Path) -> None:
        self.name, self._way = name, way
        self.port = _free_port()
        self._bodies = folder / f"{name}.jsonl"
        lines = [way.body.replace("{text}", json.dumps(text, ensure_ascii=False)) for text in texts]
        self._bodies.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._said = folder / f"{name}.log"
        started = time.perf_counter()
        with self._said.open("w") as log:
            self.process = subprocess.Popen(
                [part.replace("{port}", str(self.port)) for part in way.command],
                stdout=log,
                stderr=log,
                cwd=way.folder,
                env=os.environ | OFFLINE | dict(way.environment),
                start_new_session=True,
            )
        try:
            self._first_answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.cold_start_seconds = time.perf_counter() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # The whole session: some servers leave their workers behind.
        for how in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, how)
                self.process.wait(10)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait()

    def load(self, seconds: float, clients: int, rate: float | None = None) -> dict[str, Any]:
        """The client's figures, with `client_share` of the processor time of both."""
        before = self.processor_seconds()
        task = {
            "port": self.port, "path": self._way.path, "headers": dict(self._way.headers),
            "bodies": str(self._bodies), "seconds": seconds, "clients": clients, "rate": rate,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, str(HERE / "serve_load.py")],
            input=json.dumps(task),
            capture_output=True,
            text=True,
            check=True,
        )
        figures: dict[str, Any] = json.loads(done.stdout)
        served = self.processor_seconds() - before
        spent = figures["client_processor_seconds"]
        figures["client_share"] = round(spent / max(spent + served, 1e-9), 3)
        figures["server_processor_seconds"] = round(served, 2)
        figures["errors"] = sum(
            count for status, count in figures["statuses"].items() if status != "200"
        )
        return figures

    def rss_mb(self) -> float:
        """Of all its processes, in 10⁶ bytes."""
        return sum(memory(process).get("VmRSS", 0) for process in self._processes()) / 1e6

    def processor_seconds(self) -> float:
        """That all its processes have had."""
        total = 0
        for process in self._processes():
            try:
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += int(fields[11]) + int(fields[12])
        return total / CLOCK

    def _processes(self) -> list[int]:
        found = [self.process.pid]
        for process in found:
            found += children(process)
        return found

    def _first_answer(self) -> None:
        body = self._bodies.read_text(encoding="utf-8").splitlines()[0].encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in self._way.headers.items())
        request = (
            f"POST {self._way.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{head}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        ).encode() + body
        end, last = time.monotonic() + START_SECONDS, b""
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
                    connection.sendall(request)
                    last = connection.recv(65536)
            except OSError:
                last = b""
            if last[9:12] == b"200":
                return
            time.sleep(0.01)
        said = self._said.read_text(errors="replace")[-3000:]
        raise SystemExit(f"{self.name} did not answer: {last[:500]!r}\n{said}")


class Growth:
    """How much memory a server took more than at the start, at most, while the block ran."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.first_mb = self.most_mb = server.rss_mb()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *given: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.5):
            self.most_mb = max(self.most_mb, self._server.rss_mb())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
