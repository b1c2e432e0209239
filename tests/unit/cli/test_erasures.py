"""`feilun erase` and `feilun erasures` as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feilun.cli.main import main
from feilun.service.shapes_erasure import EraseAnswer
from feilun.wheel.project import Project

Cap = pytest.CaptureFixture[str]


@pytest.fixture
def inside(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEILUN_LANG", "en")
    monkeypatch.chdir(project_folder)
    return project_folder


def said(capsys: Cap, *arguments: str) -> str:
    assert main([*arguments]) == 0, capsys.readouterr()
    return capsys.readouterr().out


def test_receipts_are_listed_newest_first(inside: Path, capsys: Cap) -> None:
    assert "Nobody was erased yet." in said(capsys, "erasures")
    assert json.loads(said(capsys, "erasures", "--json")) == []
    with Project.open(inside) as project:
        project.predict(["好"], subject="ada-4711")
    assert "out of the log: 1 prediction(s), 0 feedback, 0 other row(s)" in said(
        capsys, "erase", "ada-4711"
    )
    last = json.loads(said(capsys, "erase", "--text", "耳机", "--json"))
    listed = json.loads(said(capsys, "erasures", "--json"))
    assert listed[0] == last
    assert [one["predictions"] for one in listed] == [0, 1]
    # Reviews about it stand in the CSV still.
    assert last["sources"] == [{"source": "reviews.csv", "rows": last["rows"]}]
    table = said(capsys, "erasures")
    assert last["id"] in table
    assert "model/1" in table
    assert f"reviews.csv: {last['rows']:,}" in table
    assert "ada-4711" not in table


def test_a_receipt_has_the_shape_of_the_api(inside: Path, capsys: Cap) -> None:
    receipt = json.loads(said(capsys, "erase", "--text", "耳机", "--json"))
    assert EraseAnswer.model_validate(receipt).model_dump() == receipt
