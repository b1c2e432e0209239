"""What every model family promises, whoever wrote it: one suite for all that are installed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.tiny_encoders import tiny

from feilun.core.part import find, names
from feilun.core.run import Run
from feilun.models.family import Estimate, Family, Lesson
from feilun.models.folder import NotAModel, load, read_card

TINY = {
    "ngram": {"bits": 14},
    "mlp": {"size": "nano", "epochs": 2, "vocabulary_size": 200, "buckets": 256},
    "cnn": {"size": "nano", "epochs": 2, "vocabulary_size": 200, "filters": 8},
    "lstm": {"size": "nano", "epochs": 2, "vocabulary_size": 200, "hidden": 16},
    "frozen": {"threads": 1},
    "hub": {"epochs": 1, "threads": 1},
    "transformer": {"size": "nano", "epochs": 1, "vocabulary_size": 200, "max_length": 32},
}
"""Settings with which a family trains in seconds; one that is not here uses its defaults."""
ENCODED = ("frozen", "hub")
"""Families that build on a pretrained encoder: here a tiny one with random weights."""

LABELS = ("差评", "good")
TEXTS = ["很好，非常满意", "房间干净 good", "喜欢！very good", "服务很好", "推荐 👍", "great 房间"]
OTHERS = ["很差，非常失望", "房间很脏 bad", "讨厌！very bad", "服务很差", "退款 👎", "awful 房间"]
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


def frame(copies: int) -> pl.DataFrame:
    texts = [f"{text} {i}" for i in range(copies) for text in (*TEXTS, *OTHERS)]
    return pl.DataFrame({"text": texts, "label": (["good"] * 6 + ["差评"] * 6) * copies})


# `auto` is a choice among families, not one itself.
FAMILIES = [name for name in names("family") if issubclass(find("family", name), Family)]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory) -> Family:
    found = find("family", request.param)
    assert issubclass(found, Family)
    if missing := found.missing():
        pytest.skip(f"{request.param} needs {', '.join(missing)}")
    settings = dict(TINY.get(request.param, {}))
    if request.param in ENCODED:
        settings["name"] = str(tiny(tmp_path_factory.mktemp("tiny-bert")))
    return found(**settings)


def fitted(family: Family, base: Path) -> Path:
    scratch, folder = base / "scratch", base / "model"
    scratch.mkdir()
    folder.mkdir()
    family.fit(Lesson(frame(6), frame(1), LABELS), folder, Silent(scratch))
    return folder


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory) -> Path:
    return fitted(family, tmp_path_factory.mktemp(family.use))


@pytest.fixture(scope="module")
def predictor(family, folder):
    return family.load(folder)


def test_the_folder_is_laid_out_as_others_expect_it(family, folder):
    held = {path.name for path in folder.iterdir()}
    assert {"README.md", "config.json", "feilun.json", "model.safetensors"} <= held
    assert not any(name.endswith((".pkl", ".pickle", ".pt", ".bin", ".joblib")) for name in held)
    card = read_card(folder)
    assert card["architecture"] == family.use
    assert card["labels"] == list(LABELS)


def test_no_file_names_this_machine(folder):
    for path in folder.iterdir():
        assert str(folder.parent).encode() not in path.read_bytes()


def test_any_folder_is_loaded_by_its_card(folder, predictor):
    assert load(folder).labels == predictor.labels == LABELS


def test_scores_are_distributions_or_nan_whatever_the_text(predictor):
    texts = [*TEXTS, *ODD]
    scores = predictor.scores(texts)
    assert scores.shape == (len(texts), len(LABELS))
    assert scores.dtype == np.float32
    for row in scores:
        assert np.isnan(row).all() or (row.sum() == pytest.approx(1, abs=1e-4) and row.min() >= 0)
    assert np.isfinite(scores[: len(TEXTS)]).all()


def test_a_text_with_nothing_in_it_is_not_judged(predictor):
    assert np.isnan(predictor.scores(["", " "])).all()


def test_no_text_gives_no_row(predictor):
    scores = predictor.scores([])
    assert scores.shape == (0, len(LABELS))
    assert scores.dtype == np.float32


def test_a_text_is_judged_alike_alone_and_in_company(predictor):
    texts = [*TEXTS, *OTHERS]
    together = predictor.scores(texts)
    alone = np.vstack([predictor.scores([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-3)


def test_threads_may_share_a_predictor(predictor):
    texts = [*TEXTS, *OTHERS]
    wanted = predictor.scores(texts)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _i: predictor.scores(texts), range(12)):
            assert np.array_equal(found, wanted, equal_nan=True)


def test_the_same_work_gives_the_same_bytes(family, folder, tmp_path):
    again = fitted(family, tmp_path)
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {
        p.name: p.read_bytes() for p in folder.iterdir()
    }


def test_an_estimate_is_a_family_and_seconds(family, tmp_path):
    found = family.estimate(Lesson(frame(6), frame(1), LABELS), 60.0, Silent(tmp_path))
    assert isinstance(found, Estimate)
    assert type(found.family) is type(family)
    assert found.seconds >= 0


def test_settings_survive_being_written_down(family):
    assert type(family).model_validate(family.model_dump(mode="json")) == family


def test_an_empty_or_damaged_folder_is_no_model(family, folder, tmp_path):
    with pytest.raises(NotAModel):
        family.load(tmp_path)
    for name in ("feilun.json", "config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(NotAModel):
        family.load(tmp_path)
