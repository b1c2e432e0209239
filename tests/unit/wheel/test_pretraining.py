"""An encoder pretrained on a project's texts, for later turns to build on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feilun.cli.main import main
from feilun.models.bert import Bert
from feilun.wheel.export import NotEmpty
from feilun.wheel.pretraining import BadBudget
from feilun.wheel.project import Project
from tests.unit.models.neural.test_pretraining import CANARY

MODEL = """
[train]
model = { architecture = "bert", size = "nano", layers = 1, width = 64, threads = 1, \
vocabulary_size = 300, max_length = 32, pretrain = { steps = 4, batch_size = 8 } }
"""


@pytest.fixture
def folder(project_folder: Path) -> Path:
    """A project whose [train] names a tiny `bert`."""
    path = project_folder / "feilun.toml"
    text = path.read_text(encoding="utf-8")
    kept = text.split("[train]")[0] + MODEL
    path.write_text(kept, encoding="utf-8")
    return project_folder


def test_the_command_writes_a_folder_that_hub_builds_on(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "deep" / "encoder"
    assert main(["pretrain", "--to", str(target), "-C", str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == sorted(path.name for path in target.iterdir())
    assert "model.safetensors" in told["files"]
    config = json.loads((target / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"]
    assert config["hidden_size"] == 64
    assert not (folder / ".feilun" / "work" / "pretrain-now").exists()
    assert list((tmp_path / "deep").iterdir()) == [target]
    assert str(tmp_path) not in "".join(p.read_text("utf-8", "ignore") for p in target.iterdir())
    with Project.open(folder) as project:
        again = project.pretrain(tmp_path / "again")
        assert isinstance(project.settings.train.model, Bert)
    for path in target.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()


def test_nothing_is_overwritten_and_time_is_needed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    with Project.open(folder) as project:
        with pytest.raises(NotEmpty):
            project.pretrain(tmp_path / "mine")
        with pytest.raises(BadBudget):
            project.pretrain(tmp_path / "new", budget_seconds=0)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


def test_no_text_of_validation_or_test_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars as pl

    from feilun.models.neural import corpus
    from feilun.stages.train.stage import lesson_of

    seen: list[str] = []
    real = corpus.texts_of

    def watched(lesson: object) -> object:
        for text in real(lesson):  # type: ignore[arg-type]
            seen.append(text)
            yield text

    for name in ("feilun.models.neural.corpus", "feilun.models.neural.pretraining"):
        monkeypatch.setattr(f"{name}.texts_of", watched)
    with Project.open(folder) as project:
        project.pretrain(tmp_path / "encoder")
        _name, dataset = project.dataset()
        run = project.scratch("look")
        lesson = lesson_of(dataset, run)
        held = [pl.read_parquet(run.file(d)) for d in dataset.shards("test")]
    kept_apart = {t for frame in (lesson.validation, *held) for t in frame["text"]}
    assert len(kept_apart) > 10
    assert set(lesson.train["text"]) <= set(seen)
    assert not kept_apart & (set(seen) - set(lesson.train["text"]))
    assert CANARY not in "".join(seen)
