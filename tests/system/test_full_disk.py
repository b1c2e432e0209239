"""A disk without room under a running service, and one that gets room again."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import httpx
import pytest
from tests.evidence import Evidence
from tests.service_process import Server, serving

from feilun.wheel.project import Project

ROUNDS, WAIT_SECONDS, SPARE_BYTES, SEED = 3, 60.0, 8_000_000, 4
BLIND = "from feilun.service.live import Live\nLive.storage_failed = lambda self: None\n"
HASTY = """
from concurrent.futures import Future
from feilun.store.events import EventLog
submit = EventLog.submit

def hasty(self, events):
    submit(self, events)
    told = Future()
    told.set_result([getattr(event, "id", "") for event in events])
    return told

EventLog.submit = hasty
"""
"""For negative controls: a service that does not notice, one that answers before it knows."""


class Disk(Protocol):
    """Where the project is; `fill` leaves some `room` in bytes, `free` gives it back."""

    folder: Path
    inside: Sequence[str]

    def fill(self, server: Server, room: int) -> None: ...

    def free(self, server: Server) -> None: ...


class SmallFileSystem:
    """A file system in memory, of this test's own name space: no privilege needed."""

    def __init__(self, process: int, mounted: Path) -> None:
        self.folder = Path(f"/proc/{process}/root{mounted}/reviews")
        self.inside = ("nsenter", "-t", str(process), "-U", "-m", "--preserve-credentials")
        self._ballast = self.folder.parent / "ballast"

    def fill(self, server: Server, room: int) -> None:
        with self._ballast.open("wb", buffering=0) as target:
            try:
                while target.write(b"\1" * 65536):
                    pass
            except OSError:
                pass
            target.truncate(max(0, target.tell() - room))

    def free(self, server: Server) -> None:
        self._ballast.unlink()


class LimitedFiles:
    """Files of the service may not grow beyond a size, as under a quota."""

    inside: Sequence[str] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, server: Server, room: int) -> None:
        _soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (room, hard))

    def free(self, server: Server) -> None:
        _soft, hard = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def small_file_system(project: Path, room: int) -> Iterator[SmallFileSystem]:
    """One with a copy of the project and `room` bytes; skips the test where none can be had."""
    mounted = project.parent / "small"
    mounted.mkdir()
    used = int(subprocess.check_output(["du", "-sb", str(project)], text=True).split()[0])
    script = (
        f"mount -t tmpfs -o size={used + room} tmpfs '{mounted}' "
        f"&& cp -r '{project}' '{mounted}/reviews' && echo ready && cat"
    )
    process = subprocess.Popen(
        ["unshare", "-rm", "sh", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            pytest.skip("this user may mount nothing, not even for itself")
        yield SmallFileSystem(process.pid, mounted)
    finally:
        process.kill()
        process.communicate()


class Found(NamedTuple):
    """What a full disk did to a service."""

    refused: int
    ready_when_full: int
    reads_failed: int
    heal_seconds: list[float]
    lost: int
    extra: int
    unsound: list[str]

    @property
    def complaints(self) -> int:
        """How much of it should not be."""
        wrong = self.ready_when_full + self.reads_failed + self.lost + self.extra
        return wrong + len(self.unsound) + (not self.refused)


class Client:
    """Asks for predictions and remembers what was acknowledged."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self.acknowledged: set[str] = set()
        self.refused = 0

    def classify(self) -> int:
        answer = self._http.post("/v1/classify", json={"input": ["质量不错" * 50] * 20})
        if answer.status_code == 200:
            self.acknowledged |= {result["id"] for result in answer.json()["results"]}
        else:
            assert answer.status_code in {503, 507}, answer.text
            self.refused += answer.status_code == 507
        return answer.status_code

    def fails(self, path: str) -> bool:
        return self._http.get(path).status_code != 200

    @property
    def ready(self) -> bool:
        return self._http.get("/readyz").status_code == 200


def endured(disk: Disk, server: Server, rounds: int = ROUNDS) -> Found:
    """Fills the disk and frees it, again and again, and counts."""
    choose, ready_when_full, reads_failed, heal = random.Random(SEED), 0, 0, []
    with server.client as http:
        client = Client(http)
        for _round in range(rounds):
            for _before in range(3):
                assert client.classify() == 200
            disk.fill(server, choose.randrange(60_000))
            told = [client.classify() for _more in range(40)]
            if 507 in told:
                ready_when_full += client.ready
            reads = ("/healthz", "/metrics", "/v1/models", "/v1/batches", "/openapi.json")
            reads_failed += sum(map(client.fails, reads))
            disk.free(server)
            freed = time.monotonic()
            while not client.ready or client.classify() != 200:
                assert time.monotonic() < freed + WAIT_SECONDS, "it does not heal"
                time.sleep(0.02)
            heal.append(time.monotonic() - freed)
        server.process.kill()
        server.process.wait()
    assert "Traceback" not in server.said()
    kept, unsound = kept_in(disk.folder)
    lost, extra = client.acknowledged - kept, kept - client.acknowledged
    return Found(
        client.refused, ready_when_full, reads_failed, heal, len(lost), len(extra), unsound
    )


def kept_in(folder: Path) -> tuple[set[str], list[str]]:
    """The ids in the log, and what is wrong with the databases."""
    unsound = []
    with tempfile.TemporaryDirectory() as copied:
        # SQLite makes a path of another name space one of ours, so it is given copies.
        for path in (folder / ".feilun").glob("*.db*"):
            shutil.copy(path, copied)
        for name in ("control", "events"):
            with closing(sqlite3.connect(Path(copied) / f"{name}.db")) as connection:
                said = connection.execute("PRAGMA integrity_check").fetchone()[0]
                unsound += [said] * (said != "ok")
                if name == "events":
                    rows = connection.execute("SELECT id FROM predictions").fetchall()
    return {row[0] for row in rows}, unsound


def key_of(folder: Path) -> str:
    with Project.open(folder) as project:
        return project.keys.add("load")


@pytest.mark.parametrize("kind", ["a file system of a few MB", "a limit on the size of files"])
def test_a_full_disk_is_told_and_heals(kind: str, project_folder: Path, evidence: Evidence) -> None:
    key = key_of(project_folder)
    if kind.startswith("a limit"):
        disk: Disk = LimitedFiles(project_folder)
        with serving(project_folder) as server:
            found = endured(disk, server._replace(key=key))
    else:
        with (
            small_file_system(project_folder, SPARE_BYTES) as small,
            serving(small.folder, inside=small.inside) as server,
        ):
            found = endured(small, server._replace(key=key))
    assert found.complaints == 0, found
    evidence(
        4,
        f"{kind}, full {ROUNDS} times under a running service: {found.refused} requests told 507, "
        f"unready, reads answered, 0 acknowledged rows lost, 0 refused ones kept, databases sound; "
        f"ready again {max(found.heal_seconds):.1f} s after there was room, at most",
    )


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (BLIND, "a service that does not remember that it had no room says that it is ready"),
        (HASTY, "a service that answers before the commit loses {lost} acknowledged predictions"),
    ],
    ids=["blind", "hasty"],
)
def test_a_service_that_does_not_mind_is_found_out(
    changed: str, what: str, project_folder: Path, evidence: Evidence
) -> None:
    """Negative control."""
    key = key_of(project_folder)
    with serving(project_folder, changed=changed) as server:
        found = endured(LimitedFiles(project_folder), server._replace(key=key), 1)
    assert found.complaints > 0
    assert (found.lost > 0) == ("{lost}" in what)
    evidence.control(4, what.format(lost=found.lost))
