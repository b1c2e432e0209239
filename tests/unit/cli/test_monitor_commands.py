"""`feilun monitor weakest`, and that `feilun monitor` still stands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feilun.cli.main import main
from feilun.wheel.project import Project

Cap = pytest.CaptureFixture[str]


@pytest.fixture
def inside(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEILUN_LANG", "en")
    monkeypatch.chdir(project_folder)
    with Project.open(project_folder) as project:
        for number in range(40):
            answer = project.predict([f"质量不错 {'开发票' if number % 4 == 0 else ''} {number}"])[
                0
            ]
            project.feedback(answer.id, "rating", number % 4 != 0, source="ann")
    return project_folder


def said(capsys: Cap, arguments: list[str]) -> str:
    assert main(arguments) == 0, capsys.readouterr()
    return capsys.readouterr().out


def test_the_weakest_slices_are_printed(inside: Path, capsys: Cap) -> None:
    out = said(capsys, ["monitor", "weakest"])
    assert "40 answers, 40 of them judged, 10 wrong" in out
    assert "  term 开发票: 10 of 10, 100.0% [72.2%, 100.0%]; elsewhere 0.0%" in out
    assert "      质量不错 开发票" in out
    found = json.loads(said(capsys, ["monitor", "weakest", "--days", "1", "--json"]))
    assert found["wrong"] == 10
    assert said(capsys, ["monitor", "weakest", "--days", "0.01"]).startswith("40 answers")


def test_the_signals_name_their_detector(inside: Path, capsys: Cap) -> None:
    found = json.loads(said(capsys, ["monitor", "--json"]))
    assert {one["detector"] for one in found} >= {"inputs", "columns", "unknown", "outputs"}
    assert "different texts compared: 40" in said(capsys, ["monitor"])


def test_the_folder_may_stand_before_the_command(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Cap
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    for arguments in (
        ["monitor", "-C", str(inside), "weakest"],
        ["monitor", "weakest", "-C", str(inside)],
    ):
        assert "10 wrong" in said(capsys, arguments)
    told = said(capsys, ["monitor", "-C", str(inside), "--json", "weakest"])
    assert json.loads(told)["wrong"] == 10
