"""What every model family promises, whoever wrote it: one suite for all that are installed, on
every task that each says it does."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from tests.tiny_encoders import tiny
from tests.unit.models.neural import lessons

from feilun.core.part import find, names
from feilun.core.run import Run
from feilun.models.family import Estimate, Family, Lesson
from feilun.models.folder import NotAModel, load, read_card, read_task
from feilun.tasks import Task

NETWORK: dict[str, Any] = {
    "size": "nano", "epochs": 1, "vocabulary_size": 200, "max_length": 32, "threads": 1,
    "min_frequency": 1,
}  # fmt: skip
LITTLE: dict[str, Any] = {**NETWORK, "layers": 1, "width": 32, "heads": 2}
TINY: dict[str, dict[str, Any]] = {
    "ngram": {"bits": 14},
    "mlp": {**NETWORK, "width": 16, "buckets": 256},
    "cnn": {**NETWORK, "width": 16, "filters": 8},
    "lstm": {**NETWORK, "width": 16, "hidden": 16},
    "transformer": LITTLE,
    "bert": {**LITTLE, "pretrain": {"steps": 3, "batch_size": 8}},
    "frozen": {"threads": 1},
    "hub": {"epochs": 1, "threads": 1},
    "stack": {
        "members": [
            {"architecture": "ngram", "bits": 14},
            {"architecture": "mlp", **NETWORK, "width": 16, "buckets": 256},
        ]
    },
    "cascade": {
        "members": [
            {"architecture": "ngram", "bits": 14},
            {"architecture": "mlp", **NETWORK, "width": 16, "buckets": 256},
        ]
    },
}
"""Settings with which a family trains in seconds; one that is not here uses its defaults."""
ENCODED = ("frozen", "hub")
"""Families that build on a pretrained encoder: here a tiny one with random weights."""
DONE_ON = {"several": "classify"}
"""The task's name, where the kind of lesson has another: `several` is classify, multiple."""
PLAIN = {
    "classify": ["房间干净，very nice", "服务差 no 3", "失望"],
    "several": ["房间干净，第3天", "位置偏远，服务热情", "第5天"],
    "regress": ["很差，第1天", "完美，第2天", "不错"],
    "tag": ["昨天，王小明和朋友去了北京旅游。", "李雷和朋友去了上海。", "昨天，Jim Green"],
    "match": [("去北京", "北京好玩"), ("去上海", "深圳好玩"), ("去广州", "广州好玩")],
}
"""Inputs all of whose texts are of the kind that was learnt from."""
ODD = ["", " \n", "\0", "\ud800", "👩‍👩‍👧", "é" * 50, "好" * 3000, "a\nb\tc", "ﷺ", "1" * 500]


class Silent(Run):
    """A run that keeps nothing, with a folder of its own."""

    def __init__(self, folder: Path, seed: int = 11) -> None:
        self.seed, self.root, self.folder = seed, folder, folder

    def within(self, name: str) -> Silent:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return Silent(folder, self.seed)

    def progress(self, done: float, total: float, what: str = "") -> None:
        assert 0 <= done <= total

    def say(self, message: str) -> None:
        assert message

    def drop(self, frame: pl.DataFrame, step: str, reason: str) -> None:
        raise AssertionError("training drops no records")

    def dropped(self) -> pl.DataFrame:
        raise AssertionError("training asks for no dropped records")

    def spend(self, amount: float, what: str) -> None:
        assert amount >= 0

    def log(self, metric: str, value: float, step: int = 0) -> None:
        assert value == value

    def keep(self, content: bytes | Path) -> str:
        raise AssertionError("a family writes into its folder")

    def file(self, digest: str) -> Path:
        raise AssertionError("a family reads what it is given")

    def unpack(self, model: object) -> Path:
        raise AssertionError("a family reads what it is given")


class Case(NamedTuple):
    """A family, fitted to a kind of lesson."""

    family: Family
    kind: str
    lesson: Lesson
    folder: Path
    predictor: Any

    @property
    def task(self) -> Task:
        return self.lesson.task

    @property
    def columns(self) -> int:
        return len(self.lesson.labels) or 1

    def odd(self) -> list[Any]:
        """Inputs such as nobody expects."""
        if self.kind != "match":
            return list(ODD)
        return [*pairwise(ODD), *((text, "去北京") for text in ODD)]

    def answered(self, inputs: list[Any]) -> list[Any]:
        """What is compared of the answers: rows of scores, or entities without their scores."""
        if self.kind == "tag":
            found = self.predictor.entities(inputs)
            return [one and [(e.start, e.end, e.label) for e in one] for one in found]
        return list(self.predictor.scores(inputs))


# `auto` is a choice among families, not one itself.
FAMILIES = [name for name in names("family") if issubclass(find("family", name), Family)]
CASES = [
    (name, kind)
    for name in FAMILIES
    for kind in lessons.MADE
    if DONE_ON.get(kind, kind) in find("family", name).tasks  # type: ignore[attr-defined]
]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unlabelled") / "0.parquet"
    texts = [f"{a}。{b}！" for a in lessons.GOOD for b in lessons.BAD]
    pl.DataFrame({"text": [*texts, None, ""]}).write_parquet(path)
    return path


def fitted(family: Family, lesson: Lesson, base: Path) -> Path:
    scratch, folder = base / "scratch", base / "model"
    scratch.mkdir()
    folder.mkdir()
    family.fit(lesson, folder, Silent(scratch))
    return folder


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(
    request: Any, encoder: Path, unlabelled: Path, tmp_path_factory: pytest.TempPathFactory
) -> Case:
    name, kind = request.param
    found = find("family", name)
    assert issubclass(found, Family)
    if missing := found.missing():
        pytest.skip(f"{name} needs {', '.join(missing)}")
    settings = dict(TINY.get(name, {}))
    if name in ENCODED:
        settings["name"] = str(encoder)
    family = found.model_validate(settings)
    if name in {"stack", "cascade"}:
        members = [
            find("family", one["architecture"]).model_validate(
                {key: value for key, value in one.items() if key != "architecture"}
            )
            for one in settings["members"]
        ]
        family = found(members=tuple(members))
    lesson = lessons.lesson(kind, 48)._replace(unlabelled=(unlabelled,))
    folder = fitted(family, lesson, tmp_path_factory.mktemp(f"{name}-{kind}"))
    return Case(family, kind, lesson, folder, family.load(folder))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_folder_is_laid_out_as_others_expect_it(case: Case) -> None:
    held = {path.name for path in case.folder.iterdir()}
    assert {"README.md", "config.json", "feilun.json", "model.safetensors"} <= held
    pickled = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".ckpt")
    assert not any(name.endswith(pickled) for name in files(case.folder))
    assert not any(content.startswith(b"\x80\x04") for content in files(case.folder).values())
    card = read_card(case.folder)
    assert card["architecture"] == case.family.use
    assert card["labels"] == list(case.lesson.labels)
    assert card["task"] == case.task.named()
    assert read_task(card) == case.task
    json.loads((case.folder / "config.json").read_text(encoding="utf-8"))


def test_no_file_names_this_machine(case: Case, encoder: Path) -> None:
    names = {
        str(case.folder.parent),
        str(encoder),
        str(Path.home()),
        str(Path(__file__).parents[2]),
    }
    names |= {socket.gethostname()} if len(socket.gethostname()) > 9 else set()
    for content in files(case.folder).values():
        assert not [name for name in names if len(name) > 1 and name.encode() in content]


def test_any_folder_is_loaded_by_its_card(case: Case) -> None:
    again = load(case.folder)
    assert tuple(again.labels) == tuple(case.predictor.labels) == case.lesson.labels
    if case.kind == "regress":
        low, high = again.interval  # type: ignore[attr-defined]
        assert np.isfinite([low, high]).all()
        assert low <= high


def test_answers_keep_the_contract_whatever_the_input(case: Case) -> None:
    inputs = [*PLAIN[case.kind], *case.odd()]
    if case.kind == "tag":
        _hold_entities(case, inputs)
    else:
        _hold_scores(case, inputs)
    answers = case.task.answers(case.predictor, inputs)
    assert len(answers) == len(inputs)
    assert all(answer.written is not None for answer in answers[: len(PLAIN[case.kind])])


def _hold_entities(case: Case, texts: list[str]) -> None:
    found = case.predictor.entities(texts)
    assert len(found) == len(texts)
    assert None not in found[: len(PLAIN["tag"])]
    for text, entities in zip(texts, found, strict=True):
        before = 0
        for one in entities or []:
            assert before <= one.start < one.end <= len(text)
            assert one.label in case.lesson.labels
            assert 0 < one.score <= 1
            before = one.end


def _hold_scores(case: Case, inputs: list[Any]) -> None:
    scores = case.predictor.scores(inputs)
    assert scores.shape == (len(inputs), case.columns)
    assert scores.dtype == np.float32
    assert np.isfinite(scores[: len(PLAIN[case.kind])]).all()
    for row in scores:
        assert np.isfinite(row).all() or np.isnan(row).all()
        if case.kind != "regress" and np.isfinite(row).all():
            assert 0 <= row.min() <= row.max() <= 1 + 1e-6
        if case.kind in {"classify", "match"} and np.isfinite(row).all():
            assert row.sum() == pytest.approx(1, abs=1e-4)


def test_an_input_with_nothing_in_it_is_not_judged(case: Case) -> None:
    nothing: list[Any] = ["", " "]
    if case.kind == "tag":
        assert case.predictor.entities(nothing) == [None, None]
    elif case.kind == "match":
        found = case.predictor.scores([("", ""), ("去北京", " "), ("", "去北京")])
        assert np.isnan(found).all()
    else:
        assert np.isnan(case.predictor.scores(nothing)).all()


def test_no_input_gives_no_answer(case: Case) -> None:
    if case.kind == "tag":
        assert case.predictor.entities([]) == []
    else:
        scores = case.predictor.scores([])
        assert scores.shape == (0, case.columns)
        assert scores.dtype == np.float32


def test_an_input_is_judged_alike_alone_and_in_company(case: Case) -> None:
    inputs = [*PLAIN[case.kind], *case.task.inputs(case.lesson.train)[:12]]
    together = case.answered(inputs)
    alone = [case.answered([one])[0] for one in inputs]
    if case.kind == "tag":
        assert together == alone
    else:
        spread = 32 if case.kind == "regress" else 1
        np.testing.assert_allclose(together, alone, atol=1e-3 * spread)


def test_threads_may_share_a_predictor(case: Case) -> None:
    inputs = [*PLAIN[case.kind], *case.task.inputs(case.lesson.train)[:12]]
    wanted = case.answered(inputs)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _i: case.answered(inputs), range(12)):
            if case.kind == "tag":
                assert found == wanted
            else:
                assert np.array_equal(found, wanted, equal_nan=True)


def test_the_same_work_gives_the_same_bytes(case: Case, tmp_path: Path) -> None:
    assert files(fitted(case.family, case.lesson, tmp_path)) == files(case.folder)


def test_vectors_of_texts_have_length_one(case: Case) -> None:
    try:
        found = case.predictor.embeddings(["去北京", "", "房间干净，第3天"])
    except AttributeError:
        pytest.skip("this family places no texts in a space")
    assert found.dtype == np.float32
    assert found.shape[0] == 3
    assert np.isnan(found[1]).all()
    known = found[~np.isnan(found).any(axis=1)]
    np.testing.assert_allclose(np.linalg.norm(known, axis=1), 1, atol=1e-4)
    assert case.predictor.embeddings([]).shape == (0, found.shape[1])


def test_an_estimate_is_a_family_and_seconds(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feilun.models.neural import estimate

    monkeypatch.setattr(estimate, "PROBE_SECONDS", 0.05)
    found = case.family.estimate(case.lesson, 60.0, Silent(tmp_path))
    assert isinstance(found, Estimate)
    assert type(found.family) is type(case.family)
    assert case.task.use in found.family.tasks
    assert 0 <= found.seconds < 3600


def test_settings_survive_being_written_down(case: Case) -> None:
    written = json.dumps(case.family.model_dump(mode="json"))
    assert type(case.family).model_validate_json(written) == case.family
    assert type(case.family).model_validate(read_card(case.folder)["settings"])


def test_an_empty_or_damaged_folder_is_no_model(case: Case, tmp_path: Path) -> None:
    with pytest.raises(NotAModel):
        case.family.load(tmp_path)
    for name in ("feilun.json", "config.json"):
        (tmp_path / name).write_bytes((case.folder / name).read_bytes())
    with pytest.raises(NotAModel):
        case.family.load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(NotAModel):
        case.family.load(tmp_path)
    card = (case.folder / "feilun.json").read_bytes()
    (tmp_path / "feilun.json").write_bytes(card[: len(card) // 2])
    with pytest.raises(NotAModel):
        load(tmp_path)
