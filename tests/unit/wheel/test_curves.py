"""What training logged can be seen while it runs and afterwards."""

from __future__ import annotations

import json
from pathlib import Path

from feilun.core.artifacts import Model
from feilun.store.disk import lock
from feilun.wheel.curves import FOLDER, LOG, curves, keep

MODEL = Model(files={}, task="classify", architecture="cnn", labels=("a", "b"))


def log(folder: Path, *values: float, metric: str = "loss") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOG).open("a") as target:
        for step, value in enumerate(values):
            target.write(json.dumps({"metric": metric, "value": value, "step": step}) + "\n")


def test_what_runs_now_is_shown_before_what_was(tmp_path: Path) -> None:
    log(tmp_path / "work" / "train-1" / "0-cnn", 0.9, 0.5)
    keep(tmp_path / "work" / "train-1", MODEL, tmp_path)
    log(tmp_path / "work" / "train-2" / "0-cnn", 0.7)
    log(tmp_path / "work" / "train-2" / "estimate-cnn", 99.0)
    assert not curves(tmp_path, MODEL).running, "a killed turn left it"
    with lock(tmp_path / "turn.lock", what="reviews"):
        found = curves(tmp_path, MODEL)
    assert found.running
    assert found.figures.rows() == [("0-cnn", "loss", 0, 0.7)]


def test_the_curve_of_a_model_outlives_its_training(tmp_path: Path) -> None:
    work = tmp_path / "work" / "train-1"
    log(work / "0-cnn", 0.9, 0.5)
    log(work / "1-lstm", 0.8, metric="validation_accuracy")
    keep(work, MODEL, tmp_path)
    for path in sorted(work.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    work.rmdir()
    found = curves(tmp_path, MODEL)
    assert not found.running
    assert found.figures["value"].to_list() == [0.9, 0.5, 0.8]
    assert found.figures["part"].to_list() == ["0-cnn", "0-cnn", "1-lstm"]


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "work" / "train-1" / "0-cnn"
    log(folder, 0.9)
    with (folder / LOG).open("a") as target:
        target.write('{"metric": "loss", "val')
    with lock(tmp_path / "turn.lock", what="reviews"):
        assert curves(tmp_path, None).figures["value"].to_list() == [0.9]


def test_nothing_logged_is_nothing_kept(tmp_path: Path) -> None:
    keep(tmp_path / "work", MODEL, tmp_path)
    assert not (tmp_path / FOLDER).exists()
    assert curves(tmp_path, MODEL).figures.is_empty()
    assert curves(tmp_path, None).figures.is_empty()
