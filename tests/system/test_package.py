"""A packaged model serves in a process that can import nothing but what the package names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from pathlib import Path

import httpx
import pytest

from feilun.wheel.project import Project

TEXTS = ["质量不错，推荐手机", "terrible phone, broke after a day"]
BLOCKER = """
import sys
from importlib.machinery import PathFinder

BLOCKED = frozenset({names!r})

class Rest(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            return None
        return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Rest
"""


@pytest.fixture
def package(trained_project: Project, tmp_path: Path) -> Path:
    return trained_project.package(tmp_path / "package")


@pytest.fixture
def elsewhere(package: Path, tmp_path: Path) -> dict[str, str]:
    """The environment of a machine on which only the requirements are installed."""
    site = tmp_path / "site"
    with zipfile.ZipFile(next((package / "wheels").glob("feilun-*.whl"))) as wheel:
        wheel.extractall(site)
    lines = (package / "requirements.txt").read_text(encoding="utf-8").splitlines()
    there = {_canonical(line.partition("==")[0]) for line in lines if "==" in line} | {"feilun"}
    names = sorted(
        module
        for module, owners in packages_distributions().items()
        if not there & {_canonical(owner) for owner in owners}
    )
    assert {"torch", "transformers", "optuna", "onnx", "sklearn"} <= set(names)
    (site / "sitecustomize.py").write_text(BLOCKER.format(names=names), encoding="utf-8")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(site), "FEILUN_LANG": "en", "PYTHONDONTWRITEBYTECODE": "1"}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def feilun(environment: dict[str, str], *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "feilun.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@contextmanager
def serving(environment: dict[str, str], *arguments: str | Path) -> Iterator[tuple[str, str]]:
    """The address and the first key ("" when there is one already) while it runs."""
    process = feilun(environment, "serve", "--port", "0", *arguments)
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _line in range(2)]
        assert said[0], process.communicate()[1]
        key = ""
        if not (Path(arguments[-1]) / "told").exists():
            key = process.stdout.readline().split()[-1]
        yield said[0].split()[-1], key
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def ask(url: str, key: str) -> list[dict[str, object]]:
    answer = httpx.post(
        f"{url}/v1/classify",
        json={"input": TEXTS},
        headers={"authorization": f"Bearer {key}"},
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["results"]
    return found


def test_training_cannot_be_imported_there(elsewhere: dict[str, str], tmp_path: Path) -> None:
    for module in ("torch", "transformers", "optuna"):
        tried = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            env=elsewhere,
            capture_output=True,
            check=False,
        )
        assert tried.returncode == 1
        assert f"No module named '{module}'".encode() in tried.stderr
    code = "import feilun; print(feilun.__file__)"
    shown = subprocess.run(
        [sys.executable, "-c", code], env=elsewhere, capture_output=True, check=True, text=True
    )
    assert Path(shown.stdout.strip()).is_relative_to(tmp_path / "site")


def test_it_answers_as_the_project_does(
    trained_project: Project, package: Path, elsewhere: dict[str, str]
) -> None:
    wanted = trained_project.predict(TEXTS, log=False)
    moved = package.rename(package.parent / "other machine")
    shutil.rmtree(trained_project.root)
    with serving(elsewhere, "-C", moved) as (url, key):
        found = ask(url, key)
        assert [one["label"] for one in found] == [one.answer.label for one in wanted]
        scores = [one["score"] for one in found]
        assert scores == pytest.approx([one.answer.score for one in wanted], abs=1e-6)
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            assert client.post("/v1/classify", json={"input": "x"}).status_code == 401
            known = {"authorization": f"Bearer {key}"}
            signals = client.get("/v1/monitor", headers=known)
            assert signals.status_code == 200, signals.text
            assert client.get("/readyz").status_code == 200
    doctor = feilun(elsewhere, "doctor", "-C", moved)
    out, err = doctor.communicate(timeout=60)
    assert doctor.returncode == 0, out + err


def test_a_read_only_package_serves_with_its_state_elsewhere(
    package: Path, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    before = {path: path.stat().st_mtime_ns for path in package.rglob("*")}
    with serving(elsewhere, "--package", package, "-C", state) as (url, key):
        assert ask(url, key)
    (state / "told").touch()
    with serving(elsewhere, "--package", package, "-C", state) as (url, _none):
        assert ask(url, key)
    assert {path: path.stat().st_mtime_ns for path in package.rglob("*")} == before
    with Project.open(state) as served:
        assert served.events.counts()["predictions"] == 2 * len(TEXTS)
