"""`kill -9` of the service under load: what was acknowledged is there afterwards, and once."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from test_crash import feilun
from tests.evidence import Evidence
from tests.service_process import Connection, NotTaken, Server, Truncated, quantile, serving
from tests.unit.core.chat_server import chat_server, completion
from tests.unit.service.gateway.conftest import SECRET, settings_of

from feilun.store.events import EventLog
from feilun.wheel.project import Project

ROUNDS, ROUNDS_LONG, KILLS, KILLS_LONG = 5, 20, 12, 480
CLIENTS, CHATTERS, LINES, WAIT_SECONDS, SEED = 5, 2, 3000, 90.0, 2
APART = """
import asyncio
from feilun.service import answering
from feilun.store.events.batches import BatchPiece
stored = answering.stored

async def apart(service, events):
    if len(events) > 1 and isinstance(events[-1], BatchPiece):
        await stored(service, events[:-1])
        await asyncio.sleep(1.0)
        events = events[-1:]
    return await stored(service, events)

answering.stored = apart
"""
"""Stores the predictions of a batch and how far it has come in two transactions, and so is a
negative control."""


class Journal:
    """What was acknowledged, written down outside the process that is killed."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, list[str]] = {
            "predictions": [], "feedback": [], "exchanges": []
        }  # fmt: skip
        self.batches: dict[str, list[str]] = {}  # the texts of each
        self.midway = 0

    @property
    def count(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    def lost(self, folder: Path) -> int:
        """How many acknowledged ids are not in the store."""
        with Project.open(folder) as project, project.events.database.read() as connection:
            missing = 0
            for table, ids in self.acknowledged.items():
                rows = connection.execute(sa.text(f"SELECT id FROM {table}"))
                missing += len(set(ids) - {row[0] for row in rows})
        return missing

    def repeated(self, folder: Path) -> int:
        """How many inputs of batches were not stored exactly once."""
        with Project.open(folder) as project:
            rows = project.events.predictions(0, limit=10**7)
        stored = Counter(row["input"] for row in rows if row["route"] == "batch")
        wanted = Counter(text for texts in self.batches.values() for text in texts)
        return sum(stored[text] != count for text, count in wanted.items())


async def classify(connection: Connection, journal: Journal) -> None:
    """Asks, and corrects the answer."""
    answer = await connection.classify(["质量不错", "terrible lamp"])
    if answer.status != 200:
        return
    ids = [result["id"] for result in answer.json()["results"]]
    journal.acknowledged["predictions"] += ids
    said = {"prediction_id": ids[0], "kind": "correction", "value": "负面", "source": "load"}
    answer = await connection.ask("POST", "/v1/feedback", said)
    if answer.status == 200:
        journal.acknowledged["feedback"].append(answer.json()["id"])


async def chat(connection: Connection, journal: Journal) -> None:
    """Asks something of the server behind the gateway."""
    asked = {"model": "m", "messages": [{"role": "user", "content": f"{journal.count}"}]}
    answer = await connection.ask("POST", "/v1/chat/completions", asked)
    if answer.status == 200:
        journal.acknowledged["exchanges"].append(answer.json()["id"])


async def again_and_again(server: Server, journal: Journal, ask: Any) -> None:
    """Until the server is gone."""
    connection = Connection(server.port, server.key)
    with suppress(NotTaken, Truncated):
        while True:
            await ask(connection, journal)
    await connection.close()


async def in_the_middle(server: Server, journal: Journal, lines: int) -> None:
    """Returns while a batch is half done; hands one over where none is."""
    connection, until = Connection(server.port, server.key), time.monotonic() + WAIT_SECONDS
    done: dict[str, int] = {}
    while time.monotonic() < until:
        listed = (await connection.ask("GET", "/v1/batches")).json()["data"]
        open_ = [one for one in listed if one["status"] in {"queued", "running"}]
        if not open_:
            texts = [f"第 {len(journal.batches)} 批 {number}" for number in range(lines)]
            rows = [json.dumps({"id": text, "input": text}) for text in texts]
            answer = await connection.ask(
                "POST", "/v1/batches", "\n".join(rows).encode(), content_type="application/jsonl"
            )
            assert answer.status == 202, answer.body
            journal.batches[answer.json()["id"]] = texts
        for one in open_:
            come = one["lines"]["done"]
            # It has moved since this process began.
            if done.setdefault(one["id"], come) < come < one["lines"]["total"]:
                journal.midway += 1
                await connection.close()
                return
        await asyncio.sleep(0.01)
    raise AssertionError("no batch is worked off")


async def load_and_kill(
    server: Server, journal: Journal, pause: float, lines: int, after: float = 0.0
) -> None:
    """Kills the server under load, `after` a piece of a batch was seen to be done."""
    asked = [classify] * CLIENTS + [chat] * CHATTERS
    tasks = [asyncio.create_task(again_and_again(server, journal, ask)) for ask in asked]
    await asyncio.sleep(pause)
    await in_the_middle(server, journal, lines)
    await asyncio.sleep(after)
    server.process.kill()
    await asyncio.gather(*tasks)


async def first_chat(server: Server, journal: Journal) -> None:
    """What the first one needs is loaded with it."""
    connection = Connection(server.port, server.key)
    await chat(connection, journal)
    await connection.close()


async def first_answer(server: Server) -> None:
    connection = Connection(server.port, server.key)
    while (await connection.classify("好")).status != 200:
        await asyncio.sleep(0.005)
    await connection.close()


async def finished(server: Server, journal: Journal) -> dict[str, list[dict[str, Any]]]:
    """The results of every batch, once all are complete."""
    connection, until = Connection(server.port, server.key), time.monotonic() + WAIT_SECONDS
    found = {}
    for identity in journal.batches:
        while True:
            told = (await connection.ask("GET", f"/v1/batches/status?id={identity}")).json()
            if told["status"] == "completed":
                break
            assert time.monotonic() < until, told
            await asyncio.sleep(0.05)
        answer = await connection.ask("GET", f"/v1/batches/results?id={identity}")
        found[identity] = [json.loads(line) for line in answer.body.splitlines()]
    await connection.close()
    return found


@pytest.fixture
def key(project_folder: Path) -> str:
    with Project.open(project_folder) as project:
        return project.keys.add("load")


def test_what_the_service_acknowledged_survives_kill_9(
    project_folder: Path, key: str, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    monkeypatch.setenv("UPSTREAM_TOKEN", SECRET)
    path, journal, choose = project_folder / "feilun.toml", Journal(), random.Random(SEED)
    recovered, rounds = [], evidence.times(ROUNDS, ROUNDS_LONG)
    with chat_server(lambda _asked, _number: completion("hello")) as upstream:
        path.write_text(path.read_text("utf-8") + settings_of(upstream.url), "utf-8")
        for _round in range(rounds):
            started = time.monotonic()
            with serving(project_folder) as running:
                server = running._replace(key=key)
                asyncio.run(first_answer(server))
                recovered.append(time.monotonic() - started)
                asyncio.run(first_chat(server, journal))
                asyncio.run(load_and_kill(server, journal, 0.3 + choose.random() / 2, LINES))
            assert journal.lost(project_folder) == 0
        with serving(project_folder) as running:
            results = asyncio.run(finished(running._replace(key=key), journal))
    for identity, texts in journal.batches.items():
        assert [one["custom_id"] for one in results[identity]] == texts
        assert all(one["response"] is not None for one in results[identity])
    assert journal.repeated(project_folder) == 0
    assert journal.midway == rounds
    counts = {name: len(ids) for name, ids in journal.acknowledged.items()}
    assert min(counts.values()) >= 2 * rounds, "the load was too small to tell"
    checked = feilun(project_folder, "doctor")
    assert checked.returncode == 0, checked.stdout
    lines = sum(map(len, journal.batches.values()))
    evidence(
        2,
        f"{rounds} kills of the service under load: of {counts['predictions']} acknowledged "
        f"predictions, {counts['feedback']} corrections and {counts['exchanges']} chats 0 lost",
    )
    evidence(
        2,
        f"each kill in the middle of a batch: every one of the {lines} lines of "
        f"{len(journal.batches)} batches answered exactly once after the last start",
    )
    evidence(
        2,
        f"from the start of the process to its first answer after a kill: "
        f"{quantile(recovered[1:], 0.95):.1f} s (p95 of {len(recovered[1:])})",
    )
    # Negative control: an id that was never stored must be found missing.
    journal.acknowledged["predictions"].append("p_never")
    assert journal.lost(project_folder) == 1


def test_a_batch_in_two_transactions_is_done_twice(
    project_folder: Path, key: str, evidence: Evidence
) -> None:
    """Negative control: killed between the two, a piece is predicted and charged again."""
    journal = Journal()
    for _round in range(5):
        with serving(project_folder, changed=APART) as running:
            server = running._replace(key=key)
            asyncio.run(load_and_kill(server, journal, 0.0, 3000, after=0.4))
        with serving(project_folder) as running:
            asyncio.run(finished(running._replace(key=key), journal))
        twice = journal.repeated(project_folder)
        if twice:
            break
    assert twice
    evidence.control(
        2,
        f"with a batch's predictions and its progress in two transactions {twice} of its lines are "
        "done twice",
    )


ACKNOWLEDGE_EARLY = """
import sys, threading
from pathlib import Path
from feilun.store.events import EventLog, PredictionRow
log = EventLog(Path(sys.argv[1]))
early = sys.argv[2] == "early"
def client(name):
    for number in range(100000):
        identity = f"p_{name}_{number}"
        row = PredictionRow(identity, "r", 0.0, "m", "t", "l", 1.0, None, 1.0, "k")
        done = log.submit([row])
        if not early:
            done.result()
        # One write per line: a pipe takes it whole, and a kill cannot tear it.
        sys.stdout.write(identity + "\\n")
        sys.stdout.flush()
        if early:
            done.result()
for name in range(8):
    threading.Thread(target=client, args=(name,), daemon=True).start()
threading.Event().wait()
"""


@pytest.mark.parametrize("when", ["committed", "early"])
def test_the_event_log_loses_nothing_unless_it_acknowledges_early(
    when: str, tmp_path: Path, evidence: Evidence
) -> None:
    """`early` is the negative control: acknowledging before the commit must lose rows."""
    missing = rows = kills = 0
    for number in range(evidence.times(KILLS, KILLS_LONG)):
        path = tmp_path / f"{number}.db"
        with subprocess.Popen(
            [sys.executable, "-c", ACKNOWLEDGE_EARLY, str(path), when], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.2 + 0.01 * (number % KILLS))
            process.kill()
            said = process.stdout.read().decode().splitlines()
        log = EventLog(path)
        kept = {row["id"] for row in log.predictions(0)}
        log.close()
        assert len(said) > 20
        missing += sum(identity not in kept for identity in said)
        kills, rows = kills + 1, rows + len(said)
        if when == "early" and missing:
            break
    assert (missing > 0) == (when == "early")
    if when == "early":
        evidence.control(
            2,
            f"acknowledging before the commit, it has lost {missing} of {rows} rows at kill number "
            f"{kills}",
        )
    else:
        evidence(2, f"{kills} kills of the event log alone, 8 writers: 0 of {rows} rows lost")
