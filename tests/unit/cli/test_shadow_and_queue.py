"""A model into the shadow and out of it, and what waits for a person, in a terminal."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from feilun.store.events import PredictionRow
from feilun.wheel.project import Project
from feilun.wheel.shadow import identity

from .test_commands import Cap, parsed, said, told


@pytest.fixture(autouse=True)
def here(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEILUN_LANG", "en")
    monkeypatch.chdir(project_folder)
    return project_folder


def another(root: Path) -> str:
    """The digest of a second model, trained and not released."""
    path = root / "reviews.csv"
    path.write_text(path.read_text(encoding="utf-8") + "另一句话，真好,正面\n", encoding="utf-8")
    with Project.open(root) as project:
        model = project.turn(until="train").model
    assert model is not None
    return model.digest


def row(name: str, model: str, label: str | None, reason: str | None = None) -> PredictionRow:
    return PredictionRow(name, "r_1", time.time(), model, "好不好？", label, 0.9, reason, 2.0, "k")


def test_into_the_shadow_and_out_of_it(here: Path, capsys: Cap) -> None:
    digest = another(here)
    assert parsed(capsys, ["release", "--shadow", f"model/{digest}"]) == {"shadow": digest}
    live = parsed(capsys, ["status"])["live"]["model"]
    given = [row(f"p_{at}", live, "正面") for at in range(4)]
    beside = [
        one._replace(id=identity(one.id), model=digest, route="shadow", label=label, input="")
        for one, label in zip(given, ["正面", "正面", "正面", "负面"], strict=True)
    ]
    with Project.open(here) as project:
        project.events.record([*given, *beside])
    (compared,) = parsed(capsys, ["status"])["shadow"]
    assert (compared["number"], compared["agreement"]) == (4, 0.75)
    assert "the same answer as" in said(capsys, ["status"])
    assert said(capsys, ["release", "--no-shadow"]).strip() == "✓ No model is in the shadow."
    assert parsed(capsys, ["status"])["shadow"] == []
    assert "it is a dataset" in told(capsys, ["release", "--shadow", "dataset/latest"], 2)


def test_what_waits_is_shown_and_taken_off_by_a_correction(here: Path, capsys: Cap) -> None:
    assert said(capsys, ["feedback", "queue"]).strip() == "waiting for a person: 0"
    live = parsed(capsys, ["status"])["live"]["model"]
    rows = [row(f"p_{at}", live, None, "person") for at in range(3)]
    with Project.open(here) as project:
        project.events.record([*rows, row("p_9", live, "正面")])
    found = parsed(capsys, ["feedback", "queue", "--limit", "2"])
    assert found["waiting"] == 3
    assert [one["id"] for one in found["entries"]] == ["p_0", "p_1"]
    assert found["entries"][0]["input"] == "好不好？"
    assert "p_0" in said(capsys, ["feedback", "queue"])
    said(capsys, ["feedback", "add", "p_0", "correction", "正面"])
    assert [one["id"] for one in parsed(capsys, ["feedback", "queue"])["entries"]] == ["p_1", "p_2"]


def test_into_the_shadow_and_out_of_it_at_once_is_refused(capsys: Cap) -> None:
    assert "contradicts --shadow" in told(
        capsys, ["release", "--shadow", "model/latest", "--no-shadow"], 2
    )
