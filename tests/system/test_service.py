"""The service as a process: its port, its live model, clients that speak no HTTP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from tests.service_process import Server, serving, start

from feilun.wheel.project import Project


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


def test_serving_imports_nothing_that_answering_does_not_need(project_folder: Path) -> None:
    unwanted = {"torch", "transformers", "alembic", "polars", "jinja2", "httpx", "rich"}
    code = (
        "import sys; from feilun.service.app import create_app; "
        "from feilun.wheel.project import Project; app = create_app(Project.open(sys.argv[1])); "
        "app.state.service.live.start(); "
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(project_folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = set(done.stdout.split())
    assert "feilun.service.app" in loaded
    assert not unwanted & loaded
