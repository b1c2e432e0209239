"""`kill -9` at every stage boundary, in mid-training and under load: nothing is lost or redone.

Every test has its negative control: a run that is broken on purpose, in which the check must
find the fault.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from feilun.wheel.faults import POINTS, VARIABLE
from feilun.wheel.project import Project

GOOD = [
    "房间干净",
    "服务很好",
    "位置方便",
    "早餐丰富",
    "非常满意",
    "下次再来",
    "物超所值",
    "老板热情",
]
BAD = [
    "房间很脏",
    "服务太差",
    "位置偏僻",
    "早餐难吃",
    "非常失望",
    "再也不来",
    "不值这价",
    "态度恶劣",
]
STAGES = ("collect", "prepare", "train", "evaluate", "release")


def write_project(root: Path, architecture: str = "ngram", more: str = "") -> None:
    chooser = random.Random(5)
    rows = ["text,label"]
    for number in range(150):
        for label, words in (("正面", GOOD), ("负面", BAD)):
            rows.append(f"{'，'.join(chooser.sample(words, 3))}，第{number}号,{label}")
    root.mkdir(parents=True)
    (root / "data.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (root / "feilun.toml").write_text(
        f"""
[project]
name = "crash"

[[collect.sources]]
use = "files"
path = "data.csv"

[train]
model = {{ architecture = "{architecture}"{more} }}
""",
        encoding="utf-8",
    )


def feilun(
    root: Path, *arguments: str, fault: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FEILUN_LANG": "en"}
    if fault is not None:
        environment[VARIABLE] = fault
    return subprocess.run(
        [sys.executable, "-m", "feilun.cli.main", *arguments, "-C", str(root)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def artifacts(root: Path) -> dict[str, str]:
    """The digest of everything the first turn made."""
    with Project.open(root) as project:
        turn = project.turns()[0]
        assert turn.number == 1
        assert turn.status == "done"
        live = project.release
        assert live is not None
        return {step.stage: step.artifact or "" for step in turn.steps} | {
            "live": live.model.digest
        }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("undisturbed") / "project"
    write_project(root)
    done = feilun(root, "turn")
    assert done.returncode == 0, done.stderr
    return artifacts(root)


BOUNDARIES = [(stage, point) for stage in STAGES for point in POINTS if point != "progress"]


@pytest.mark.parametrize(("stage", "point"), BOUNDARIES)
def test_a_turn_killed_at_a_boundary_ends_as_if_undisturbed(
    stage: str, point: str, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    root = tmp_path / "project"
    write_project(root)
    killed = feilun(root, "turn", fault=f"{stage}:{point}")
    assert killed.returncode == -signal.SIGKILL
    again = feilun(root, "turn", "--json")
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    finished = STAGES[: STAGES.index(stage) + (point == "committed")]
    for name in finished:
        if name != "release":  # the gate keeps no artifact: it only speaks
            assert summary["stages"][name]["reused"], f"{name} was done again"
    assert artifacts(root) == undisturbed


STEPS = ("normalise", "duplicates", "mask", "near_duplicates")
"""Two passes: a row step stands behind a corpus step."""


@pytest.mark.parametrize(
    ("stage", "time"), [("collect", 1), ("collect", 2), *(("prepare", n) for n in range(1, 10))]
)
def test_a_step_killed_at_any_time_ends_as_if_undisturbed(
    stage: str, time: int, tmp_path: Path, prepared: str
) -> None:
    root = tmp_path / "project"
    write_project(root)
    add_steps(root)
    killed = feilun(root, "prepare", fault=f"{stage}:progress:{time}")
    assert killed.returncode == -signal.SIGKILL, "there is no such time: lower the range"
    again = feilun(root, "prepare")
    assert again.returncode == 0, again.stderr
    assert dataset(root) == prepared


def dataset(root: Path) -> str:
    with Project.open(root) as project:
        return project.get("dataset/latest").digest


def add_steps(root: Path) -> None:
    path = root / "feilun.toml"
    more = "".join(f'\n[[prepare.steps]]\nuse = "{name}"\n' for name in STEPS)
    path.write_text(path.read_text("utf-8") + more, "utf-8")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("prepared") / "project"
    write_project(root)
    add_steps(root)
    done = feilun(root, "prepare")
    assert done.returncode == 0, done.stderr
    return dataset(root)


def test_the_digests_would_tell_a_different_run(
    tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    """Negative control: another seed must give other digests."""
    root = tmp_path / "project"
    write_project(root)
    path = root / "feilun.toml"
    path.write_text(path.read_text("utf-8").replace('name = "crash"', 'name = "crash"\nseed = 1'))
    assert feilun(root, "turn").returncode == 0
    assert artifacts(root)["train"] != undisturbed["train"]


def test_a_training_killed_midway_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra 'train' is not installed")
    settings = ', size = "nano", epochs = 3, batch_size = 16'
    roots = [tmp_path / "undisturbed", tmp_path / "killed"]
    for root in roots:
        write_project(root, "transformer", settings)
    assert feilun(roots[0], "turn").returncode == 0
    killed = feilun(roots[1], "turn", fault="train:progress:25")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with Project.open(roots[1]) as project:
        assert project.turns()[0].status == "running"
        assert project.turns()[0].model is None
    again = feilun(roots[1], "turn")
    assert again.returncode == 0, again.stderr
    assert artifacts(roots[1]) == artifacts(roots[0])


class Served:
    """A running service, its address and its key."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "feilun.cli.main", "serve", "-C", str(root), "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "FEILUN_LANG": "en"},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, line
        self.address = "http://" + line.split("http://")[1].strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def load(address: str, key: str, acknowledged: dict[str, list[str]], stop: threading.Event) -> None:
    """Classifies and corrects until the server is gone; notes only what was acknowledged."""
    import httpx

    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=address, headers=headers, timeout=10, trust_env=False) as http:
        for _number in range(2000):
            if stop.is_set():
                return
            try:
                answer = http.post("/v1/classify", json={"input": ["房间很脏", "服务很好"]})
                if answer.status_code != 200:
                    continue
                ids = [result["id"] for result in answer.json()["results"]]
                acknowledged["predictions"] += ids
                sent = http.post(
                    "/v1/feedback",
                    json={
                        "prediction_id": ids[0],
                        "kind": "correction",
                        "value": "负面",
                        "source": "load",
                    },
                )
                if sent.status_code == 200:
                    acknowledged["feedback"].append(sent.json()["id"])
            except httpx.HTTPError:
                return


def lost(root: Path, acknowledged: dict[str, list[str]]) -> int:
    """How many acknowledged events are not in the store."""
    with Project.open(root) as project:
        kept = {row["id"] for row in project.events.predictions(0)}
        kept |= {row["id"] for row in project.events.feedback_through(2**62)}
    return sum(identity not in kept for ids in acknowledged.values() for identity in ids)


def test_what_the_service_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    root = tmp_path / "project"
    write_project(root)
    assert feilun(root, "turn").returncode == 0
    with Project.open(root) as project:
        key = project.keys.add("load")
    acknowledged: dict[str, list[str]] = {"predictions": [], "feedback": []}
    rounds = 4
    for number in range(rounds):
        server = Served(root)
        stop = threading.Event()
        clients = [
            threading.Thread(target=load, args=(server.address, key, acknowledged, stop))
            for _client in range(8)
        ]
        for client in clients:
            client.start()
        time.sleep(0.7 + 0.13 * number)
        server.kill()
        stop.set()
        for client in clients:
            client.join()
        assert lost(root, acknowledged) == 0
    assert len(acknowledged["predictions"]) > 100 * rounds, "the load was too small to tell"
    assert len(acknowledged["feedback"]) > 10 * rounds
    # Negative control: an answer that was never recorded must be found missing.
    assert lost(root, {"predictions": [*acknowledged["predictions"], "p_never"]}) == 1
    status = feilun(root, "doctor")
    assert status.returncode == 0, status.stdout


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
    when: str, tmp_path: Path
) -> None:
    """`early` is the negative control: acknowledging before the commit must lose rows."""
    from feilun.store.events import EventLog

    missing = 0
    for number in range(12 if when == "early" else 6):
        path = tmp_path / f"{number}.db"
        with subprocess.Popen(
            [sys.executable, "-c", ACKNOWLEDGE_EARLY, str(path), when], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.2 + 0.01 * number)
            process.kill()
            said = process.stdout.read().decode().splitlines()
        log = EventLog(path)
        kept = {row["id"] for row in log.predictions(0)}
        log.close()
        assert len(said) > 20
        missing += sum(identity not in kept for identity in said)
        if when == "early" and missing:
            break
    assert (missing > 0) == (when == "early")
