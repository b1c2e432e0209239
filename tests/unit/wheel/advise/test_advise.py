"""`feilun advise` on a project: probes in their own processes, a table, a recommendation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from feilun.cli.main import main
from feilun.core.artifacts import Dataset
from feilun.core.records import read_shards
from feilun.models.ngram import Ngram
from feilun.models.transformer import Transformer
from feilun.stages.train.plan import NotForTask
from feilun.wheel.advise import NothingToValidate
from feilun.wheel.advise.advise import NotProbed
from feilun.wheel.project import Project
from tests.conftest import sentences, write_project


@pytest.fixture
def prepared(tmp_path: Path) -> Project:
    """A project with a dataset, and nothing trained."""
    project = Project.open(write_project(tmp_path / "reviews", sentences(900)))
    project.turn(until="prepare")
    return project


def test_a_family_is_probed_in_a_process_of_its_own(prepared: Project) -> None:
    before = prepared.control.artifacts("model", 10)
    found = prepared.advise(families=["ngram"], seconds=40)
    option = found.options[0]
    assert [one.family for one in found.options] == ["ngram"]
    assert option.quality is not None
    assert option.quality.low <= option.quality.value <= option.quality.high
    assert option.quality.value > 0.8
    assert [rows for rows, _quality in option.probed] == sorted({r for r, _q in option.probed})
    assert option.probed[-1][0] == found.num_train // 2
    assert 20 < (option.memory_mb or 0) < 2_000
    assert (option.latency_ms or 0) > 0
    assert (option.size_mb or 0) > 0.01
    assert [one.kind for one in found.baselines] == ["trivial", "rule"]
    # It advises: nothing is made, and nothing is left behind.
    assert prepared.control.artifacts("model", 10) == before
    assert not (prepared.folder / "work" / "advise").exists()


def test_the_test_is_never_touched(prepared: Project) -> None:
    _ref, dataset = prepared.dataset()
    for digest in dataset.shards("test"):
        prepared.blobs.get(digest).unlink()
    assert prepared.advise(families=["ngram"], seconds=40).options[0].quality is not None


def test_what_is_live_is_a_baseline(trained_project: Project) -> None:
    found = trained_project.advise(families=["ngram"], seconds=40)
    assert [one.kind for one in found.baselines] == ["trivial", "rule", "live"]
    # The very same family on the very same records.
    assert not found.train
    assert found.snippet == ""


def test_a_keyword_is_enough_where_it_says_all(tmp_path: Path) -> None:
    rows = [
        (f"第{n}单{'，我要退款' if n % 2 else '，谢谢你们'}", "退款" if n % 2 else "其他")
        for n in range(600)
    ]
    with Project.open(write_project(tmp_path / "orders", rows)) as project:
        project.turn(until="prepare")
        found = project.advise(families=["ngram"], seconds=40)
    assert not found.train
    assert "a rule is enough" in str(found.reasons[0])


def test_a_family_that_is_not_installed_is_told(
    prepared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transformer, "needs", ("no_such_module_anywhere",))
    found = prepared.advise(families=["transformer", "ngram"], seconds=40)
    absent, probed = found.options
    assert (absent.family, absent.quality, absent.seconds) == ("transformer", None, None)
    assert "no_such_module_anywhere not installed" in str(absent.note)
    assert probed.quality is not None


def test_no_time_gives_no_advice(prepared: Project) -> None:
    found = prepared.advise(families=["ngram"], seconds=0.001)
    assert not found.train
    assert found.family is None
    assert found.options[0].note is not None


def test_the_settings_in_the_file_are_those_that_are_probed(prepared: Project) -> None:
    path = prepared.root / "feilun.toml"
    path.write_text(path.read_text() + "model.bits = 14\n")
    prepared.close()
    found = Project.open(prepared.root).advise(families=["ngram"], seconds=40)
    assert found.options[0].model == {"architecture": "ngram", "bits": 14}


def test_what_cannot_be_probed_is_refused(
    prepared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("auto", "stack"):
        with pytest.raises(NotProbed, match=name):
            prepared.advise(families=[name])
    monkeypatch.setattr(Ngram, "tasks", ("tag",))
    with pytest.raises(NotForTask):
        prepared.advise(families=["ngram"])


def test_a_dataset_without_validation_cannot_be_probed(prepared: Project) -> None:
    _ref, dataset = prepared.dataset()
    empty = read_shards([prepared.blobs.get(d) for d in dataset.shards("validation")]).clear()
    empty.write_parquet(path := prepared.root / "empty.parquet")
    files = {n: d for n, d in dataset.files.items() if not n.startswith("validation")}
    files["validation.parquet"] = prepared.blobs.put(path)
    prepared.put(Dataset(**{**dataset.model_dump(), "files": files}))
    with pytest.raises(NothingToValidate):
        prepared.advise(families=["ngram"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_command(
    prepared: Project, language: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("FEILUN_LANG", language)
    prepared.close()
    where = ["-C", str(prepared.root), "--family", "ngram", "--seconds", "40"]
    assert main(["advise", *where]) == 0
    shown = capsys.readouterr().out
    assert "ngram" in shown
    assert 'model = { architecture = "ngram" }' in shown
    assert main(["advise", *where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["family"] == "ngram"
    assert told["options"][0]["quality"]["value"] > 0.8
    assert told["snippet"].startswith("[train]")
