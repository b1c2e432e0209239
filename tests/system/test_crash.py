"""`kill -9` at every stage boundary and in mid-training: nothing is lost or redone.

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
