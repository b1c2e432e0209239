"""`feilun diff`, through `main`: tables in both languages, JSON, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feilun.cli.main import main

Cap = pytest.CaptureFixture[str]


@pytest.fixture
def two_datasets(project_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Cap) -> Path:
    """The trained project after a second `prepare`, on forty rows more (one side only)."""
    monkeypatch.chdir(project_folder)
    monkeypatch.setenv("FEILUN_LANG", "en")
    with Path("reviews.csv").open("a", encoding="utf-8") as target:
        for number in range(40):
            target.write(f"[red]brand new[/red] review number {number} and more,正面\n")
    assert main(["prepare"]) == 0, capsys.readouterr()
    capsys.readouterr()
    return project_folder


def test_it_prints_what_differs(two_datasets: Path, capsys: Cap) -> None:
    assert main(["diff", "dataset/1", "dataset/2", "--show", "2"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("dataset/1 → dataset/2\n")
    assert "came: new in the sources" in out
    assert "more than by chance" in out
    assert "reviews.csv" in out
    assert out.count("[red]brand new[/red]") == 2, "what users wrote is no markup"


def test_it_speaks_json(two_datasets: Path, capsys: Cap) -> None:
    assert main(["diff", "dataset/1", "--json", "--show", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["second"], found["same"]) == ("dataset/1", "dataset/2", False)
    rows = found["rows"]["train"]
    into, out_of = rows["came"] + rows["moved_in"], rows["went"] + rows["moved_out"]
    assert rows["second"] - rows["first"] == into - out_of
    assert sum(found["came"].values()) == sum(r["came"] for r in found["rows"].values())
    assert found["labels"]["train"]["p"] <= 0.05
    assert len(found["examples"]["came"]) == 1
    assert found["examples"]["came"][0]["label"] == "正面"


def test_without_difference_it_says_so(two_datasets: Path, capsys: Cap) -> None:
    assert main(["diff", "dataset/2", "dataset/2"]) == 0
    assert "The same rows in the same splits." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "wanted"),
    [
        (["model/live", "dataset/1"], 2, "model/live is a model"),
        (["dataset/1", "dataset/99"], 3, "dataset/99"),
        (["nothing", "dataset/1"], 2, "names no artifact"),
    ],
)
def test_what_is_no_dataset_is_refused(
    two_datasets: Path, capsys: Cap, arguments: list[str], code: int, wanted: str
) -> None:
    assert main(["diff", *arguments]) == code
    error = capsys.readouterr().err
    assert wanted in error
    assert "→" in error, "the remedy"
