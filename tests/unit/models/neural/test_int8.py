"""Eight bits: kept where they lose little, the same bytes every time, and what is served then."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.unit.models.neural import lessons

from feilun.models.family import Lesson
from feilun.models.folder import load, read_card
from feilun.models.mlp import Mlp
from feilun.models.neural import int8
from feilun.models.neural.predict import INT8, ONNX, opened
from feilun.models.transformer import Transformer
from feilun.tasks.task import Input

LITTLE = {**lessons.TINY, "layers": 1, "width": 32, "heads": 2, "epochs": 2}


def fitted(folder: Path, lesson: Lesson, **more: object) -> tuple[Path, lessons.Bench]:
    made, scratch = folder / "model", folder / "scratch"
    made.mkdir(parents=True)
    scratch.mkdir()
    run = lessons.Bench(scratch)
    Transformer.model_validate({**LITTLE, "int8": "on", **more}).fit(lesson, made, run)
    return made, run


@pytest.fixture(scope="module")
def lesson() -> Lesson:
    return lessons.lesson("classify", 64)


@pytest.fixture(scope="module")
def kept(lesson: Lesson, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, lessons.Bench]:
    return fitted(tmp_path_factory.mktemp("int8"), lesson, int8_loss=1.0)


def inputs(lesson: Lesson) -> list[Input]:
    return list(lesson.task.inputs(lesson.validation))


def test_the_matrices_are_in_eight_bits_and_the_file_is_the_one_served(
    kept: tuple[Path, lessons.Bench], lesson: Lesson
) -> None:
    folder, _run = kept
    kinds = {node.op_type for node in onnx.load(folder / INT8).graph.node}
    assert kinds & {"DynamicQuantizeMatMul", "MatMulInteger", "MatMulIntegerToFloat"}
    served = load(folder).scores(inputs(lesson))  # type: ignore[attr-defined]
    eight, whole = (opened(folder, 1, name) for name in (INT8, ONNX))
    assert np.array_equal(served, eight.scores(inputs(lesson)))  # type: ignore[union-attr]
    assert not np.array_equal(served, whole.scores(inputs(lesson)))  # type: ignore[union-attr]
    assert np.abs(served - whole.scores(inputs(lesson))).max() < 0.1  # type: ignore[union-attr]


def test_card_and_readme_say_both_accuracies_and_the_run_both_speeds(
    kept: tuple[Path, lessons.Bench], lesson: Lesson
) -> None:
    folder, run = kept
    card = read_card(folder)["int8"]
    truth = lesson.task.truth(lesson.validation)
    for name, file in (("fp32", ONNX), ("int8", INT8)):
        answers = lesson.task.answers(opened(folder, 1, file), inputs(lesson))
        right = np.mean([a.written == t for a, t in zip(answers, truth, strict=True)])
        assert card[name] == pytest.approx(right)
        assert f"{right:.4f}" in (folder / "README.md").read_text(encoding="utf-8")
    assert card["chosen"] is True
    logged = {metric: value for metric, value, _step in run.logged}
    assert logged["fp32.inputs_per_second"] > 0
    assert logged["int8.inputs_per_second"] > 0
    assert any("Eight bits are kept" in message for message in run.said)


def test_the_same_lesson_gives_the_same_bytes(
    kept: tuple[Path, lessons.Bench], lesson: Lesson, tmp_path: Path
) -> None:
    again, _run = fitted(tmp_path, lesson, int8_loss=1.0)
    for path in kept[0].iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_where_they_lose_too_much_they_are_not_kept(
    lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantise = int8.quantise

    def spoilt(source: Path, target: Path) -> None:
        """A quantiser that gets the last bias wrong: everything has one label."""
        quantise(source, target)
        model = onnx.load(target)
        for one in model.graph.initializer:
            if list(one.dims) == [2] and one.data_type == onnx.TensorProto.FLOAT:
                one.CopyFrom(onnx.numpy_helper.from_array(np.array([99, 0], np.float32), one.name))
        onnx.save(model, target)

    monkeypatch.setattr(int8, "quantise", spoilt)
    folder, run = fitted(tmp_path, lesson, epochs=12)
    assert not (folder / INT8).exists()
    card = read_card(folder)["int8"]
    assert card["chosen"] is False
    assert card["int8"] < card["fp32"] - 0.005
    assert any("not kept" in message for message in run.said)
    assert json.dumps(card)


def test_auto_is_resolved_where_it_is_measured_and_only_for_transformers(
    lesson: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lessons.Bench(tmp_path)
    for fast, wanted in ((True, "on"), (False, "off")):
        monkeypatch.setattr(int8, "pays", lambda _width, fast=fast: fast)
        for family, found in (
            (Transformer.model_validate(LITTLE), wanted),
            (Mlp(size="nano", epochs=1, threads=1, width=16, buckets=64), "off"),
        ):
            estimate = family.estimate(lesson, 60.0, run.within(f"{family.use}-{fast}"))
            assert getattr(estimate.family, "int8") == found  # noqa: B009


def test_what_is_measured_is_a_product_of_that_width() -> None:
    assert isinstance(int8.pays(64), bool)
