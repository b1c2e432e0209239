"""The service as a process: its port, its signals, its slow and broken clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from feilun.wheel.project import Project

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


class Server(NamedTuple):
    """A running process, where it listens and its first key."""

    process: subprocess.Popen[str]
    url: str
    port: int
    key: str | None

    @property
    def client(self) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)


def start(folder: Path, port: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HELPER, str(folder), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FEILUN_LANG": "en"},
    )


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    process = start(folder)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        url, _host, port, key, *_rest = json.loads(line)
        yield Server(process, url, port, key)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def server(project_folder: Path) -> Iterator[Server]:
    with serving(project_folder) as running:
        yield running


def test_the_first_start_makes_one_key_and_only_the_first(project_folder: Path) -> None:
    with serving(project_folder) as first:
        assert first.key is not None
        with first.client as client:
            assert client.get("/readyz").status_code == 200
            assert client.post("/v1/classify", json={"input": "好"}).status_code == 200
        first.process.terminate()
        assert first.process.wait(20) == 0
    with serving(project_folder) as second:
        assert second.key is None


def test_a_port_in_use_is_told_before_anything_else(server: Server, tmp_path: Path) -> None:
    root = tmp_path / "other"
    root.mkdir()
    (root / "feilun.toml").write_text(
        '[project]\nname = "other"\n[[collect.sources]]\nuse = "files"\npath = "x.csv"\n'
    )
    second = start(root, server.port)
    _out, err = second.communicate(timeout=60)
    assert second.returncode == 4
    assert err.startswith("port_in_use feilun serve --port ")
    assert not (root / ".feilun").exists()


def test_sigterm_lets_open_requests_finish(server: Server) -> None:
    answers: list[int] = []
    bodies: list[Any] = []

    def ask() -> None:
        with server.client as client:
            while True:
                try:
                    answer = client.post("/v1/classify", json={"input": ["质量不错"] * 200})
                except httpx.ConnectError:
                    return
                except httpx.TransportError:
                    # A kept connection that the server closed between two requests.
                    continue
                answers.append(answer.status_code)
                bodies.append(answer.json())

    threads = [threading.Thread(target=ask) for _number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    for thread in threads:
        thread.join(20)
    assert set(answers) == {200}
    assert len(answers) > 4
    assert server.process.stderr is not None
    assert "Traceback" not in server.process.stderr.read()


def test_every_acknowledged_prediction_survives_a_kill(
    server: Server, project_folder: Path
) -> None:
    acknowledged: list[str] = []

    def ask() -> None:
        with server.client as client:
            while True:
                try:
                    answer = client.post("/v1/classify", json={"input": ["好", "bad"]})
                except httpx.TransportError:
                    return
                acknowledged.extend(result["id"] for result in answer.json()["results"])

    threads = [threading.Thread(target=ask) for _number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    server.process.kill()
    for thread in threads:
        thread.join(20)
    with sqlite3.connect(project_folder / ".feilun" / "events.db") as connection:
        stored = {row[0] for row in connection.execute("SELECT id FROM predictions")}
    connection.close()
    assert len(acknowledged) > 10
    assert not set(acknowledged) - stored


def test_a_moved_alias_is_served_within_seconds(server: Server, project_folder: Path) -> None:
    with Project.open(project_folder) as project:
        path = project.root / "reviews.csv"
        path.write_text(path.read_text(encoding="utf-8") + "再好不过,正面\n", encoding="utf-8")
        model = project.turn(until="train").model
        release = project.release
        assert model is not None
        assert release is not None
        project.control.move_alias(
            "live", model.digest, expected=release.model.digest, by="x", reason='{"template":"x"}'
        )
    deadline = time.monotonic() + 10
    with server.client as client:
        while client.post("/v1/classify", json={"input": "好"}).json()["model"] != model.digest:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.slow
def test_slow_clients_are_cut_and_harm_nobody(server: Server) -> None:
    head = (
        f"POST /v1/classify HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {server.key}\r\nContent-Type: application/json\r\n"
        "Content-Length: 1000\r\n\r\n"
    ).encode()
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _number in range(60)]
    ended: dict[int, float] = {}
    started = time.monotonic()

    def drip(number: int) -> None:
        # A third sends nothing, a third drips its head, a third its body.
        way, connection = number % 3, slow[number]
        connection.settimeout(0.5)
        try:
            if way == 2:
                connection.sendall(head)
            for byte in range(60):
                if way:
                    connection.sendall(head[byte : byte + 1] if way == 1 else b" ")
                try:
                    if not connection.recv(4096):
                        break
                except TimeoutError:
                    pass
        except OSError:
            pass
        ended[number] = time.monotonic() - started
        connection.close()

    threads = [threading.Thread(target=drip, args=[number]) for number in range(60)]
    for thread in threads:
        thread.start()
    latencies = []
    with server.client as client:
        for _number in range(50):
            before = time.monotonic()
            assert client.post("/v1/classify", json={"input": "好"}).status_code == 200
            latencies.append(time.monotonic() - before)
            time.sleep(0.05)
    for thread in threads:
        thread.join(40)
    assert max(ended.values()) < 13
    assert sorted(latencies)[-2] < 1.0


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n\r\n", b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n",
        bytes(range(256)),
    ],
    ids=range(10),
)  # fmt: skip
def test_broken_http_never_makes_a_5xx(server: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as connection:
        received = b""
        with suppress(OSError):
            # The server may answer and hang up before it has everything.
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                received += piece
    assert not received or received.split()[1].startswith(b"4"), received[:200]
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200


def test_a_chunked_overflow_gets_its_413(server: Server) -> None:
    def chunks() -> Iterator[bytes]:
        for _number in range(60):
            yield b" " * 100_000

    with server.client as client:
        answer = client.post(
            "/v1/classify", content=chunks(), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 413
        answer = client.post(
            "/v1/classify",
            content=b" " * 5_000_000,
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 413
        assert client.post("/v1/classify", json={"input": "好"}).status_code == 200


def test_serving_imports_neither_torch_nor_transformers(project_folder: Path) -> None:
    code = (
        "import sys; from feilun.service.app import create_app; "
        "from feilun.wheel.project import Project; app = create_app(Project.open(sys.argv[1])); "
        "app.state.service.live.start(); "
        "print({'torch', 'transformers', 'alembic'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(project_folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == "set()"
