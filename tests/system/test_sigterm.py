"""SIGTERM under load: what was accepted is answered whole, nobody new is let in, exit code 0."""

from __future__ import annotations

import asyncio
import random
import signal
import sqlite3
import time
from pathlib import Path
from typing import NamedTuple

from tests.evidence import Evidence
from tests.service_process import (
    SLOW,
    Answer,
    Connection,
    NotTaken,
    Server,
    Truncated,
    quantile,
    serving,
)

from feilun.wheel.project import Project

CLIENTS, SIGNALS = 16, 6


class Ended(NamedTuple):
    """What became of the requests around one SIGTERM."""

    on_their_way: int
    cut: int
    failed: int
    untold: int
    unready_seconds: float
    drain_seconds: float
    exit_code: int

    @property
    def faults(self) -> int:
        """Accepted requests that were not answered as they should be."""
        return self.cut + self.failed + self.untold


class Load:
    """Clients that ask on kept connections until the server takes nothing more."""

    def __init__(self, server: Server, seed: int) -> None:
        self._server, self._choose = server, random.Random(seed)
        self.answers: list[Answer] = []
        self.open: dict[int, float] = {}
        self.cut = 0
        self.signalled_at = float("inf")
        self.drained_at = 0.0

    async def ask(self, client: int) -> None:
        """One client; those that come after the signal may find a closed door."""
        connection = Connection(self._server.port, self._server.key)
        while True:
            inputs = ["质量不错，推荐耳机"] * self._choose.choice((1, 2, 8))
            sent = self.open[client] = time.monotonic()
            try:
                self.answers.append(await connection.classify(inputs))
                self.drained_at = time.monotonic()
            except Truncated:
                self.cut += 1
            except NotTaken:
                # What was sent before the signal must have been taken.
                self.cut += sent < self.signalled_at
                if time.monotonic() > self.signalled_at:
                    return
            finally:
                self.open.pop(client, None)

    async def unready(self) -> float:
        """Seconds until it says that it is not ready, or lets nobody in."""
        connection, started = Connection(self._server.port), time.monotonic()
        while time.monotonic() < started + 60:
            try:
                if (await connection.ask("GET", "/readyz")).status == 503:
                    break
            except NotTaken:
                break
        else:
            raise AssertionError("it stays ready")
        await connection.close()
        return time.monotonic() - started


async def terminated(server: Server, seed: int, stored: Path) -> Ended:
    """Sends SIGTERM at a random moment of the load, and counts."""
    before, load = ids(stored), Load(server, seed)
    clients = [asyncio.create_task(load.ask(number)) for number in range(CLIENTS)]
    await asyncio.sleep(random.Random(seed).uniform(0.2, 0.7))
    load.signalled_at = time.monotonic()
    on_their_way = len(load.open)
    server.process.send_signal(signal.SIGTERM)
    unready = await load.unready()
    async with asyncio.timeout(90):
        await asyncio.gather(*clients)
    code = await asyncio.to_thread(server.process.wait, 60)
    good = [answer.json() for answer in load.answers if answer.status == 200]
    told = {result["id"] for answer in good for result in answer["results"]}
    drain = max(0.0, load.drained_at - load.signalled_at)
    failed, untold = len(load.answers) - len(good), len(told ^ (ids(stored) - before))
    return Ended(on_their_way, load.cut, failed, untold, unready, drain, code)


def ids(stored: Path) -> set[str]:
    """Those of every prediction in the log."""
    with sqlite3.connect(stored) as connection:
        found = {row[0] for row in connection.execute("SELECT id FROM predictions")}
    connection.close()
    return found


def terminate(folder: Path, key: str, seed: int, each: float = 0.004) -> Ended:
    with serving(folder, changed=SLOW.format(each=each)) as server:
        ended = asyncio.run(
            terminated(server._replace(key=key), seed, folder / ".feilun" / "events.db")
        )
        assert "Traceback" not in server.said()
    return ended


def test_every_accepted_request_is_answered_whole(project_folder: Path, evidence: Evidence) -> None:
    with Project.open(project_folder) as project:
        key = project.keys.add("load")
    ends = [terminate(project_folder, key, seed) for seed in range(SIGNALS)]
    assert {ended.exit_code for ended in ends} == {0}
    assert sum(ended.faults for ended in ends) == 0, ends
    on_their_way = sum(ended.on_their_way for ended in ends)
    assert on_their_way > SIGNALS * CLIENTS / 2, "the load was too small to tell"
    drain = quantile([ended.drain_seconds for ended in ends], 0.99)
    unready = max(ended.unready_seconds for ended in ends)
    evidence(
        7,
        f"{on_their_way} requests on their way at {SIGNALS} SIGTERMs: 0 cut, 0 failed, 0 stored "
        f"but not answered; exit code 0 each time",
    )
    evidence(
        7,
        f"the last of them answered {drain:.2f} s after the signal at most; unready after "
        f"{unready * 1000:.0f} ms at most",
    )


def test_without_the_drain_requests_would_be_cut(project_folder: Path, evidence: Evidence) -> None:
    """Negative control: a service that does not wait for what it has accepted."""
    settings = project_folder / "feilun.toml"
    settings.write_text(settings.read_text("utf-8") + "\n[serve]\ndrain_seconds = 0\n", "utf-8")
    with Project.open(project_folder) as project:
        key = project.keys.add("load")
    ended = terminate(project_folder, key, 0, each=0.05)
    assert ended.faults > 0
    evidence.control(
        7,
        f"with `drain_seconds = 0` {ended.faults} of {ended.on_their_way} requests on their way "
        f"are not answered as they should be",
    )
