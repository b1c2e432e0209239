"""`feilun tune` from the outside: the table, the file that is written, the drawing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from feilun.cli.main import main
from feilun.wheel.project import Project
from tests.conftest import write_project
from tests.unit.wheel.test_tuning import hard, settings

pytest.importorskip("optuna")

TUNE = """
[train.tune]   # what to try
trials = 9
space = { cost = { low = 1e-7, high = 2.0, log = true }, bits = [12, 13, 14] }
"""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose settings are poor, after a search."""
    root = write_project(tmp_path_factory.mktemp("tune") / "reviews", hard())
    model = '"ngram", bits = 12, cost = 1e-6, max_words = 0'
    (root / "feilun.toml").write_text(settings(model, TUNE), encoding="utf-8")
    with Project.open(root) as project:
        project.turn(until="prepare")
        project.tune()
    return root


@pytest.fixture
def root(tuned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tuned, tmp_path / "reviews"))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["tune", *arguments]) == 0
    return capsys.readouterr().out


def test_the_table_the_lead_and_the_settings(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = printed(capsys, "-C", str(root))
    assert "9 of 9 trials on dataset/1; settings as they are: accuracy" in said
    assert "lead over the settings as they are: +" in said
    assert '[train]\nmodel = { architecture = "ngram", max_words = 0, bits = ' in said
    assert "What decides: " in said
    rows = [line.split() for line in said.splitlines() if line[:1].isdigit()][:9]
    scores = [float(row[1]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert f"best: trial {rows[0][0]}, accuracy {rows[0][1]}" in said
    assert "cost = 1e-6" in (root / "feilun.toml").read_text(), "nothing is written unasked"


def test_the_winner_is_written_and_comments_stay(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (root / "feilun.toml").read_text().splitlines()
    found: dict[str, Any] = json.loads(printed(capsys, "-C", str(root), "--json", "--write"))
    assert found["written"]
    assert found["better"]
    assert found["gain"]["delta"] > 0
    assert len(found["trials"]) == 9
    after = (root / "feilun.toml").read_text().splitlines()
    (at,) = [n for n, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    assert after[at] == found["snippet"].splitlines()[1] + "  # mine"
    with Project.open(root) as project:
        assert project.settings.train.model.model_dump()["cost"] == found["model"]["cost"]


def test_nothing_better_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (root / "feilun.toml").read_text().replace("cost = 1e-6", "cost = 0.4")
    text = text.replace("low = 1e-7, high = 2.0", "low = 1e-6, high = 2e-6")
    (root / "feilun.toml").write_text(text)
    said = printed(capsys, "-C", str(root), "--write", "--trials", "2")
    assert "No trial did better than the settings as they are." in said
    assert "Nothing was written" in said
    assert (root / "feilun.toml").read_text() == text


def test_what_decides_is_drawn(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    for name in ("what.svg", "deeper/what.html"):
        printed(capsys, "-C", str(root), "--plot", str(root / name))
    drawn = (root / "what.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<svg ")
    assert "cost" in drawn
    page = (root / "deeper" / "what.html").read_text(encoding="utf-8")
    assert "<svg " in page
    assert "<script" not in page
    with Project.open(root) as project:
        shares = project.tune().importances
    assert set(shares) == {"cost", "bits"}
    assert sum(shares.values()) == pytest.approx(1)


def test_a_drawing_that_cannot_be_is_told_before_the_search(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["tune", "-C", str(root), "--plot", "what.png"]) == 2
    assert "must end in .svg or .html" in capsys.readouterr().err
    monkeypatch.setattr("feilun.console.importance.can_draw", lambda: False)
    assert main(["tune", "-C", str(root), "--plot", "what.svg"]) == 2
    assert "pip install 'feilun[report]'" in capsys.readouterr().err


def test_the_time_is_up(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = printed(capsys, "-C", str(root), "--trials", "11", "--seconds", "0.001")
    assert "9 of 11 trials" in said
    assert "The time is up; the same command goes on from here." in said


def test_mistakes_in_the_space_have_their_place(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (root / "feilun.toml").read_text().replace("bits = [12", "bist = [12")
    (root / "feilun.toml").write_text(text)
    assert main(["tune", "-C", str(root), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "bad_space"
    assert "did you mean 'bits'" in error["message"]
    (root / "feilun.toml").write_text(text.replace("low = 1e-7", "low = 9.0"))
    assert main(["tune", "-C", str(root)]) == 2
    assert "low must be below high" in capsys.readouterr().err
