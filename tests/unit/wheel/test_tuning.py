"""Tuning a project: the real n-gram model, processes that are killed, and the winner's file."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feilun.models.space import BadSpace
from feilun.stages.train.plan import NotForTask
from feilun.stages.train.study import NoOptuna
from feilun.store.disk import Locked, lock
from feilun.wheel.project import Project
from feilun.wheel.rewrite import write_model
from feilun.wheel.tuners import TunerGone
from feilun.wheel.tuning import NoFamily, NoSpace, Tuned
from tests.conftest import SETTINGS, sentences, write_project

pytest.importorskip("optuna")

TUNE = """
[train.tune]
trials = 6
space = { cost = { low = 1e-4, high = 2.0, log = true }, max_chars = [1, 3] }
"""


def hard(count: int = 300) -> list[tuple[str, str]]:
    """Reviews of which every third has the other's label."""
    draw = random.Random(3)
    rows = sentences(count)
    return [(text, draw.choice(("正面", "负面")) if n % 3 == 0 else label)
            for n, (text, label) in enumerate(rows)]  # fmt: skip


def settings(model: str = '"ngram", bits = 14', tune: str = TUNE) -> str:
    return (
        SETTINGS.replace(
            'model.architecture = "ngram"', f"model = {{ architecture = {model} }}  # mine"
        )
        + tune
    )


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_project(tmp_path_factory.mktemp("tuned") / "reviews", hard())
    with Project.open(root) as project:
        project.turn(until="prepare")
    return root


@pytest.fixture
def root(prepared: Path, tmp_path: Path) -> Path:
    import shutil

    made = Path(shutil.copytree(prepared, tmp_path / "reviews"))
    (made / "feilun.toml").write_text(settings(), encoding="utf-8")
    return made


@pytest.fixture
def project(root: Path) -> Iterator[Project]:
    with Project.open(root) as opened:
        yield opened


def told(found: Tuned) -> list[Any]:
    return [(one.state, one.score, one.settings) for one in found.trials]


def test_the_winner_is_an_ordinary_config(project: Project, root: Path) -> None:
    found = project.tune(trials=10)
    assert len(found.trials) == 10
    assert found.metric == "accuracy"
    assert found.dataset == "dataset/1"
    assert found.best is not None
    assert found.best.score == max(one.score or 0 for one in found.trials)
    assert found.model == {"architecture": "ngram", "bits": 14, **found.best.settings}
    before = (root / "feilun.toml").read_text()
    write_model(root / "feilun.toml", found.model)
    after = (root / "feilun.toml").read_text()
    assert [line for line in before.splitlines() if "model =" not in line] == [
        line for line in after.splitlines() if "model =" not in line
    ]
    assert after.count("# mine") == 1
    with Project.open(root) as again:
        model = again.turn(until="train").model
        assert model is not None
        assert model.validation["accuracy"] == found.best.score, "training gives what tuning saw"
        assert again.settings.train.tune.trials == 6


def test_it_goes_on_and_never_reads_the_test(project: Project, root: Path) -> None:
    _ref, dataset = project.dataset()
    for digest in dataset.shards("test"):
        path = project.blobs.get(digest)
        path.chmod(0o600)
        path.unlink()
    four = project.tune(trials=4)
    started = time.monotonic()
    assert told(project.tune(trials=4)) == told(four), "nothing is tried again"
    assert time.monotonic() - started < 5
    eight = project.tune(trials=8)
    assert told(eight)[:4] == told(four)
    assert len(eight.trials) == 8
    assert eight.now == four.now


def test_other_settings_are_another_search(project: Project, root: Path) -> None:
    project.tune(trials=3)
    text = (
        (root / "feilun.toml").read_text().replace("seed", "seed").replace("bits = 14", "bits = 13")
    )
    (root / "feilun.toml").write_text(text)
    with Project.open(root) as other:
        assert len(other.tune(trials=2).trials) == 2


def test_two_processes_share_the_work(project: Project) -> None:
    found = project.tune(trials=9, workers=2)
    assert len(found.trials) == 9
    assert {one.state for one in found.trials} == {"scored"}
    assert len({one.settings["cost"] for one in found.trials}) == 9, "none draws like the other"


def run(root: Path, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
    """In a process of its own; what is told goes into `told.json`."""
    with (root / "told.json").open("wb") as target:
        return subprocess.Popen(
            [sys.executable, "-m", "feilun.cli.main", "tune", "--json", "-C", root, *arguments],
            stdout=target,
            env={**os.environ, **more},
        )


def ran(root: Path, *arguments: str) -> list[dict[str, Any]]:
    assert run(root, *arguments).wait(120) == 0
    trials: list[dict[str, Any]] = json.loads((root / "told.json").read_bytes())["trials"]
    return [{name: t[name] for name in ("state", "score", "settings")} for t in trials]


@pytest.mark.slow
def test_killed_and_started_again_it_ends_as_if_never_killed(root: Path, tmp_path: Path) -> None:
    import shutil

    other = Path(shutil.copytree(root, tmp_path / "other"))
    undisturbed = ran(root)
    assert run(other, FEILUN_FAULT="train:progress:4").wait(60) == -signal.SIGKILL
    assert states(other).count("COMPLETE") == 3
    assert ran(other) == undisturbed
    assert len(undisturbed) == len(states(other)) == 6


def states(root: Path) -> list[str]:
    with contextlib.suppress(sqlite3.OperationalError):
        found = sqlite3.connect(f"file:{root / '.feilun' / 'tune.db'}?mode=ro", uri=True)
        rows = found.execute("SELECT state FROM trials").fetchall()
        found.close()
        return [state for (state,) in rows]
    return []


@pytest.mark.slow
def test_killed_with_its_processes_at_work_it_goes_on(root: Path) -> None:
    killed = run(root, "--trials", "40", "--workers", "2")
    end = time.monotonic() + 60
    while states(root).count("COMPLETE") < 3 and time.monotonic() < end:
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    done = states(root).count("COMPLETE")
    assert 3 <= done < 40
    found = ran(root, "--trials", str(done + 4), "--workers", "2")
    assert len(found) >= done + 4
    assert {one["state"] for one in found} == {"scored"}
    assert "RUNNING" not in states(root), "what was under way was not forgotten"


DIES = """
import os, signal
from feilun.stages.train.trial import Trials
from feilun.wheel import tuners
tried = Trials._tried
def once(self, trial, family):
    mark = self.run.folder / "died"
    if trial.number == 2 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return tried(self, trial, family)
Trials._tried = once
tuners.main()
"""


@pytest.mark.slow
def test_a_process_that_is_killed_is_replaced_and_its_trial_repeated(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("feilun.wheel.tuners.PROGRAM", DIES)
    found = project.tune(trials=5, workers=2)
    assert len(found.trials) == 5
    assert {one.state for one in found.trials} == {"scored"}
    assert list(project.folder.glob("work/tune-*/died"))
    assert 2 not in [one.number for one in found.trials], "it stands for what it was repeated as"


def test_a_process_that_errs_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feilun.wheel.tuners.PROGRAM", "import sys; sys.exit(3)")
    with pytest.raises(TunerGone, match="exit code 3"):
        project.tune(trials=7, workers=2)


def test_the_time_may_end_it(project: Project) -> None:
    started = time.monotonic()
    found = project.tune(trials=10_000, seconds=1.5)
    assert time.monotonic() - started < 20
    assert len(found.trials) < 10_000


def test_one_search_at_a_time(project: Project) -> None:
    with lock(project.folder / "tune.lock", what="reviews"), pytest.raises(Locked):
        project.tune()


def reopened(root: Path, text: str) -> Project:
    (root / "feilun.toml").write_text(text, encoding="utf-8")
    return Project.open(root)


def test_bad_spaces_are_told_before_the_first_trial(root: Path) -> None:
    tune = "\n[train.tune]\nspace = { csot = [1], bits = { low = 2, high = 99 } }\n"
    with reopened(root, settings(tune=tune)) as project:
        with pytest.raises(BadSpace) as caught:
            project.tune()
        assert "did you mean 'cost'" in caught.value.message
        assert "99" in caught.value.message
        assert not (project.folder / "tune.db").exists()


def test_which_family_is_tuned(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    auto = settings('"auto", families = ["ngram"]', "\n[train.tune]\ntrials = 2\n")
    with reopened(root, auto) as project:
        with pytest.raises(NoFamily):
            project.tune()
        assert project.tune(family="ngram").family == "ngram"
        project.turn(until="train")
        found = project.tune()
        assert found.family == "ngram", "what auto chose"
        assert found.model["architecture"] == "ngram"
        assert "families" not in found.model
        assert set(found.trials[0].settings) == {
            "cost", "max_chars", "max_words", "min_texts", "class_weight"
        }  # fmt: skip
        from feilun.models.ngram import Ngram

        monkeypatch.setattr(Ngram, "space", lambda _self, _task: {})
        with pytest.raises(NoSpace):
            project.tune()
        monkeypatch.setattr(Ngram, "tasks", ("regress",))
        with pytest.raises(NotForTask):
            project.tune()
        monkeypatch.setattr("feilun.wheel.tuning.find_spec", lambda _name: None)
        with pytest.raises(NoOptuna):
            project.tune()


def test_an_error_metric_goes_down(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = []
    for number in range(200):
        stars = draw.randint(1, 5)
        rows.append((f"{'好' * stars}的房间 {number}", str(stars + draw.random())))
    made = write_project(tmp_path / "stars", rows)
    text = settings('"ngram", bits = 14', '\n[train.tune]\ntrials = 4\nmetric = "mae"\n')
    text = text.replace('task = "classify"', 'task = "regress"')
    with reopened(made, text) as project:
        project.turn(until="prepare")
        found = project.tune()
        assert found.metric == "mae"
        assert found.best is not None
        assert found.best.score == min(one.score for one in found.trials if one.score is not None)
        assert found.better == (found.best.score < found.now)
        assert found.gain is None or (found.gain.delta > 0) == found.better


def test_the_settings_file_names_the_metric_wrongly(root: Path) -> None:
    from feilun.core.config import ConfigError

    with pytest.raises(ConfigError, match=r"train\.tune.*metric.*acuracy"):
        reopened(root, settings(tune='\n[train.tune]\nmetric = "acuracy"\n'))
