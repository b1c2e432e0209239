"""A model leaves the project as a folder that other tools open."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feilun.core.artifacts import Model
from feilun.models.folder import load
from feilun.models.mlflow import _load_pyfunc
from feilun.tasks import Classify
from feilun.wheel.export import NoOnnxForm, NotAModelRef, NotEmpty, export
from feilun.wheel.project import Project

TEXTS = ["服务很好，推荐", "太差了，退款"]


def test_hf_is_the_folder_as_it_was_trained(trained_project: Project, tmp_path: Path) -> None:
    target = trained_project.export(tmp_path / "deep" / "model")
    assert load(target).labels == trained_project.get("model/live").labels
    assert {p.name for p in target.iterdir()} == set(trained_project.get("model/live").files)
    assert list((tmp_path / "deep").iterdir()) == [target]


def test_mlflow_loads_it_and_answers_the_same(trained_project: Project, tmp_path: Path) -> None:
    target = trained_project.export(tmp_path / "model", "mlflow")
    about = json.loads((target / "MLmodel").read_text(encoding="utf-8"))
    assert about["flavors"]["python_function"]["loader_module"] == "feilun.models.mlflow"
    wanted = [answer.label for answer in trained_project.predict(TEXTS, log=False)]
    found = _load_pyfunc(str(target / "model")).predict(TEXTS)
    assert found["label"].to_list() == wanted
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    import pandas as pd

    model = pyfunc.load_model(str(target))
    assert model.predict(pd.DataFrame({"text": TEXTS}))["label"].to_list() == wanted


def test_onnx_has_what_asks_it(trained_project: Project, tmp_path: Path) -> None:
    with pytest.raises(NoOnnxForm):
        trained_project.export(tmp_path / "ngram", "onnx")
    live = trained_project.get("model/live")
    assert isinstance(live, Model)
    kept = trained_project.blobs.put(b"graph")
    network = live.model_copy(update={"files": {**live.files, "model.onnx": kept}})
    trained_project.put(network)
    target = export(trained_project, f"model/{network.digest}", "onnx", tmp_path / "onnx")
    assert (target / "model.onnx").read_bytes() == b"graph"
    assert not (target / "model.safetensors").exists()


def test_nothing_is_overwritten(trained_project: Project, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    with pytest.raises(NotEmpty):
        trained_project.export(full)
    assert [p.name for p in full.iterdir()] == ["mine.txt"]
    with pytest.raises(NotAModelRef):
        trained_project.export(tmp_path / "new", ref="dataset/latest")


def test_a_task_is_known_by_its_name() -> None:
    assert Classify().named() == "classify"
