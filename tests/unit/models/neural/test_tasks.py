"""Every task on the smallest transformer: it learns, others can open it, it stays the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.models.neural import lessons
from tests.unit.models.neural.lessons import TINY, Bench

from feilun.models.neural.examples import BadTruth
from feilun.models.transformer import Transformer

LITTLE: dict[str, Any] = {
    **TINY, "layers": 2, "width": 64, "heads": 4, "initializer": "xavier", "patience": 50,
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "several": {"epochs": 12, "learning_rate": 4e-3, "dropout": 0.0},
    "regress": {"epochs": 8, "learning_rate": 4e-3, "dropout": 0.0},
    "tag": {"epochs": 5, "learning_rate": 8e-3},
    "tag crf": {"epochs": 5, "learning_rate": 8e-3, "crf": True},
    "match": {"epochs": 16, "batch_size": 16, "learning_rate": 3e-3, "dropout": 0.0},
    "match twin": {"epochs": 10, "pairs": "twin", "learning_rate": 4e-3, "dropout": 0.0},
}


def trained(case: str, where: Path, **more: Any) -> tuple[Path, Bench]:
    folder, run = where / "model", Bench(where / "run")
    folder.mkdir(parents=True)
    family = Transformer(**{**LITTLE, **SETTINGS[case], **more})
    family.fit(lessons.lesson(case.split(maxsplit=1)[0]), folder, run)
    return folder, run


@pytest.fixture(scope="module", params=SETTINGS)
def model(request: Any, tmp_path_factory: Any) -> tuple[str, Path, Bench]:
    return request.param, *trained(request.param, tmp_path_factory.mktemp("task"))


def test_it_learns_and_logs(model: tuple[str, Path, Bench]) -> None:
    case, folder, run = model
    name = case.split()[0]
    predictor = Transformer.load(folder)
    data = lessons.MADE[name](60, 3)
    logged = {metric for metric, _value, _step in run.logged}
    figure = {"several": "micro_f1", "regress": "mae", "tag": "f1", "match": "accuracy"}[name]
    assert {"loss", "validation_loss", f"validation_{figure}"} <= logged
    if name == "regress":
        truth = data["label"].cast(float).to_numpy()
        residual = truth - predictor.scores(data["text"].to_list())[:, 0]
        low, high = predictor.interval
        assert np.abs(residual).mean() < 5  # the values' own spread is 12
        assert low < high
        assert ((residual >= low) & (residual <= high)).mean() > 0.7
    else:
        assert lessons.answered(name, predictor, data) > 0.85


def test_the_same_work_gives_the_same_bytes(model: tuple[str, Path, Bench], tmp_path: Path) -> None:
    case, folder, _run = model
    again, _run = trained(case, tmp_path)
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }


def test_transformers_opens_it_and_agrees(model: tuple[str, Path, Bench]) -> None:
    import torch
    from transformers import (
        AutoModel,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
    )

    case, folder, _run = model
    predictor = Transformer.load(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    first, second = "服务热情，位置偏远，去北京", "房间干净，上海好玩"
    assert AutoModel.from_pretrained(folder, local_files_only=True).config.model_type == "bert"
    sequence = AutoModelForSequenceClassification
    with torch.no_grad():
        if case == "match twin":
            body = AutoModel.from_pretrained(folder, local_files_only=True)
            given = tokenizer([first, second], padding=True, return_tensors="pt")
            mask = given["attention_mask"][:, :, None]
            mean = (body(**given).last_hidden_state * mask).sum(1) / mask.sum(1)
            unit = torch.nn.functional.normalize(mean, dim=-1).numpy()
            np.testing.assert_allclose(predictor.embeddings([first, second]), unit, atol=1e-5)
        elif case == "match":
            network = sequence.from_pretrained(folder, local_files_only=True)
            logits = network(**tokenizer([first], [second], return_tensors="pt")).logits
            wanted = torch.softmax(logits, -1).numpy()
            np.testing.assert_allclose(predictor.scores([(first, second)]), wanted, atol=1e-5)
        elif case.startswith("tag"):
            tagger = AutoModelForTokenClassification.from_pretrained(folder, local_files_only=True)
            assert tagger.config.id2label[1] == "B-LOC"
            assert tagger(**tokenizer(["去北京"], return_tensors="pt")).logits.shape == (1, 5, 5)
        else:
            network = sequence.from_pretrained(folder, local_files_only=True)
            logits = network(**tokenizer([first], return_tensors="pt")).logits
            wanted = (torch.sigmoid(logits) if case == "several" else logits).numpy()
            np.testing.assert_allclose(predictor.scores([first]), wanted, rtol=1e-5, atol=1e-5)


def test_nothing_known_is_no_answer(model: tuple[str, Path, Bench]) -> None:
    case, folder, _run = model
    predictor = Transformer.load(folder)
    if case.startswith("tag"):
        assert predictor.entities(["", "龘", "。", "昨天"])[:3] == [None, None, None]
        assert predictor.entities([]) == []
    elif case.startswith("match"):
        found = predictor.scores([("去北京", ""), ("龘", "去北京"), ("去北京", "去上海")])
        assert np.isnan(found).all(axis=1).tolist() == [True, True, False]
        assert predictor.scores([]).shape == (0, 2)
    else:
        known = "一般" if case == "regress" else "房间干净"
        found = predictor.scores(["", "龘", known])
        assert np.isnan(found).all(axis=1).tolist() == [True, True, False]


def test_entities_of_a_long_text_are_found_in_all_of_it(tmp_path: Path) -> None:
    run = Bench(tmp_path / "run")
    folder = tmp_path / "model"
    folder.mkdir()
    lesson = lessons.lesson("tag", stretch=5)
    Transformer(**{**LITTLE, **SETTINGS["tag"]}).fit(lesson, folder, run)
    assert any("32" in said and "67 of 200" not in said for said in run.said)
    assert len([said for said in run.said if "max_length" in said]) == 1
    predictor = Transformer.load(folder)
    one = lessons.tag(30, 9)
    text = "".join(one["text"].to_list()) * 30
    wanted, at = [], 0
    for _ in range(30):
        for row in one.iter_rows(named=True):
            wanted += [(at + s["start"], at + s["end"], s["label"]) for s in row["spans"]]
            at += len(row["text"])
    found = predictor.entities([text])[0]
    assert found is not None
    got = {(e.start, e.end, e.label) for e in found}
    assert len(got & set(wanted)) / len(wanted) > 0.9
    assert all(0 < e.score <= 1 for e in found)
    odd = predictor.entities(["\ud83d王小明\udc00去了北京", "x" * 100_000 + "北京"])
    assert all(e.end <= 100_002 for entities in odd for e in entities or [])


def test_a_teachers_probabilities_are_learnt(tmp_path: Path) -> None:
    lesson = lessons.lesson("classify")
    soft = np.full((len(lesson.train), 2), 0.5, dtype=np.float32)
    soft[:, 1] = np.where(lesson.train["label"] == "good", 0.7, 0.3)
    soft[:, 0] = 1 - soft[:, 1]
    soft[0] = np.nan
    empty = lesson.validation.head(0)
    (tmp_path / "model").mkdir()
    Transformer(**{**LITTLE, "epochs": 8, "learning_rate": 4e-3}).fit(
        lesson._replace(soft=soft, validation=empty), tmp_path / "model", Bench(tmp_path / "run")
    )
    found = Transformer.load(tmp_path / "model").scores(lessons.classify(40, 5)["text"].to_list())
    assert np.abs(found[:, 1] - np.tile([0.7, 0.3], 20)).mean() < 0.1


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("regress", ("text", "much", None)),
        ("regress", ("text", "nan", None)),
        ("tag", ("text", None, [(0, 9, "PER")])),
        ("tag", ("text", None, [(0, 3, "PER"), (2, 4, "LOC")])),
    ],
)
def test_a_truth_that_is_none_is_told(name: str, row: Any, tmp_path: Path) -> None:
    bad = lessons.lesson(name)._replace(train=lessons.frame([row] * 9))
    with pytest.raises(BadTruth):
        Transformer(**LITTLE).fit(bad, tmp_path, Bench(tmp_path / "run"))
