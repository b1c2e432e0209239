"""The families mlp, cnn and lstm: each task learnt in seconds, the same bytes twice, and a folder
that transformers opens."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from feilun.core.records import SPANS, conform
from feilun.core.run import Run
from feilun.models.cnn import Cnn
from feilun.models.family import Family, Lesson
from feilun.models.lstm import Lstm
from feilun.models.mlp import Mlp
from feilun.tasks import Classify, Match, Regress, Tag

FAMILIES: dict[str, type[Family]] = {"mlp": Mlp, "cnn": Cnn, "lstm": Lstm}
SMALL: dict[str, Any] = {
    "size": "nano", "width": 24, "epochs": 8, "batch_size": 16, "learning_rate": 1e-2,
    "vocabulary_size": 300, "max_length": 32, "threads": 1, "patience": 8,
}  # fmt: skip
OWN: dict[str, dict[str, Any]] = {"mlp": {"buckets": 512}, "cnn": {}, "lstm": {}}
PLACES, VERBS, THINGS = (
    ("北京", "上海", "Paris"),
    ("去了", "喜欢", "visited"),
    ("酒店", "餐厅", "room"),
)
GOOD, BAD = ("干净", "满意", "nice"), ("很脏", "失望", "awful")


class Bench(Run):
    """A run that keeps nothing."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.seed, self.root, self.folder = seed, folder, folder

    def within(self, name: str) -> Run:
        return Bench(self.folder / name, self.seed)

    def progress(self, *_: Any) -> None: ...
    def say(self, *_: Any) -> None: ...
    def drop(self, *_: Any) -> None: ...
    def dropped(self) -> Any: ...
    def spend(self, *_: Any) -> None: ...
    def log(self, *_: Any) -> None: ...
    def keep(self, *_: Any) -> Any: ...
    def file(self, *_: Any) -> Any: ...
    def unpack(self, *_: Any) -> Any: ...


def sentences(count: int, seed: int) -> list[tuple[str, int, int]]:
    """Texts with how many good and bad words they hold, 0 to 2 of each."""
    random = np.random.default_rng(seed)
    found = []
    for _i in range(count):
        good, bad = random.integers(0, 3, 2)
        words = [*random.choice(GOOD, good), *random.choice(BAD, bad), *random.choice(THINGS, 3)]
        found.append((" ".join(random.permutation(words)), int(good), int(bad)))
    return found


def judged(count: int, seed: int) -> pl.DataFrame:
    rows = [(t, "good" if g > b else "bad") for t, g, b in sentences(count * 2, seed) if g != b]
    return pl.DataFrame(rows[:count], schema=["text", "label"], orient="row")


def several(count: int, seed: int) -> pl.DataFrame:
    rows = [
        (t, "|".join(["bad"] * (b > 0) + ["good"] * (g > 0))) for t, g, b in sentences(count, seed)
    ]
    return pl.DataFrame(rows, schema=["text", "label"], orient="row")


def valued(count: int, seed: int) -> pl.DataFrame:
    rows = [(t, str(10 + 3 * (g - b))) for t, g, b in sentences(count, seed)]
    return pl.DataFrame(rows, schema=["text", "label"], orient="row")


def tagged(count: int, seed: int) -> pl.DataFrame:
    """A place is one after a verb of going only: what stands before it decides."""
    random = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        place, verb, thing = (str(random.choice(w)) for w in (PLACES, VERBS, THINGS))
        text = f"我 {verb} {place} 的 {thing}" if i % 4 else f"{place} 牌 {thing}"
        start = text.index(place)
        span = {"start": start, "end": start + len(place), "label": "LOC"}
        rows.append((text, [span] if i % 4 else []))
    return pl.DataFrame(rows, schema={"text": pl.String, "spans": SPANS}, orient="row")


def paired(count: int, seed: int) -> pl.DataFrame:
    """Two texts are the same when both praise, or both complain."""
    random = np.random.default_rng(seed)
    rows = []
    for _i in range(count):
        kinds = random.integers(0, 2, 2)
        one, two = (f"{random.choice((BAD, GOOD)[k])} {random.choice(THINGS)}" for k in kinds)
        spans = [
            {"start": 0, "end": len(one), "label": "first"},
            {"start": len(one) + 1, "end": len(one) + 1 + len(two), "label": "second"},
        ]
        rows.append((f"{one}\n{two}", "1" if kinds[0] == kinds[1] else "0", spans))
    schema = {"text": pl.String, "label": pl.String, "spans": SPANS}
    return pl.DataFrame(rows, schema=schema, orient="row")


LESSONS: dict[str, tuple[Any, Any, tuple[str, ...], dict[str, Any]]] = {
    "classify": (Classify(), judged, ("bad", "good"), {}),
    "several": (Classify(multiple=True), several, ("bad", "good"), {}),
    "regress": (Regress(), valued, (), {}),
    "tag": (Tag(), tagged, ("LOC",), {}),
    "match": (Match(), paired, ("0", "1"), {"pairs": "twin", "epochs": 14}),
}


def lesson(name: str) -> Lesson:
    task, made, labels, _settings = LESSONS[name]
    return Lesson(conform(made(320, 1)), conform(made(80, 2)), labels, task)


def trained(family: str, what: str, where: Path, seed: int = 0, **settings: Any) -> Path:
    folder, scratch = where / "model", where / "run"
    folder.mkdir(parents=True)
    scratch.mkdir()
    chosen = {**SMALL, **OWN[family], **LESSONS[what][3], **settings}
    FAMILIES[family](**chosen).fit(lesson(what), folder, Bench(scratch, seed))
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(family, "classify", tmp_path_factory.mktemp(family))


@pytest.mark.parametrize("what", LESSONS)
def test_it_learns_every_task(family: str, what: str, tmp_path: Path) -> None:
    folder = trained(family, what, tmp_path)
    task, made, labels, _settings = LESSONS[what]
    held = {path.name for path in folder.iterdir()}
    # What `linear` does not hold: a chain over tags, or the layer that reads two vectors.
    beside = what == "match" or (what, family) == ("tag", "lstm")
    assert ("feilun-head.safetensors" in held) == beside
    test = conform(made(200, 3))
    answered = task.answers(FAMILIES[family].load(folder), task.inputs(test))
    answers = [one.written for one in answered]
    found = task.evaluate(task.truth(test), answers, labels, seed=0)
    if what == "regress":
        spread = float(test["label"].cast(pl.Float64).std() or 0)
        assert found.metrics["mae"].value < 0.35 * spread
    else:
        assert found.metrics[task.metrics[0]].value >= 0.9


def test_the_same_work_gives_the_same_bytes(family: str, model: Path, tmp_path: Path) -> None:
    assert digests(trained(family, "classify", tmp_path / "again")) == digests(model)
    other = trained(family, "classify", tmp_path / "other", seed=1)
    assert digests(other)["model.safetensors"] != digests(model)["model.safetensors"]


def test_transformers_opens_the_folder_and_agrees(family: str, model: Path) -> None:
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

    import feilun.models.neural.published  # noqa: F401  # registers the model types

    texts = ["干净 满意 酒店", "awful room 失望", "nice"]
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    given = tokenizer(texts, padding=True, return_tensors="pt")
    opened = AutoModel.from_pretrained(model, local_files_only=True)
    assert opened.config.model_type == f"feilun-{family}"
    with torch.no_grad():
        assert opened(**given).pooler_output.shape[0] == len(texts)
        whole = AutoModelForSequenceClassification.from_pretrained(model, local_files_only=True)
        found = torch.softmax(whole(**given).logits, dim=-1).numpy()
    predicted = FAMILIES[family].load(model).scores(texts)  # type: ignore[attr-defined]
    np.testing.assert_allclose(predicted, found, atol=1e-5)


def test_what_predicts_imports_no_torch(family: str, model: Path) -> None:
    code = (
        f"import sys; from pathlib import Path; from feilun.models import {family}\n"
        f"{family}.{family.title()}.load(Path({str(model)!r})).scores(['nice room'])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_configuration_says_what_it_is(family: str, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    assert config["model_type"] == f"feilun-{family}"
    assert config["embedding"] == SMALL["width"]


def test_an_estimate_decides_all_that_was_open(family: str, tmp_path: Path) -> None:
    found = FAMILIES[family]().estimate(lesson("classify"), 60.0, Bench(tmp_path))
    settings = found.family.model_dump()
    own = {"mlp": "hidden", "cnn": "filters", "lstm": "hidden"}[family]
    assert settings[own]
    assert settings["size"] != "auto"
    assert 0 < found.seconds < 600


def test_an_mlp_can_share_all_its_vectors(tmp_path: Path) -> None:
    folder = trained("mlp", "classify", tmp_path, embedding="hashed", buckets=512)
    from safetensors.numpy import load_file

    names = load_file(folder / "model.safetensors")
    assert not any("words" in name for name in names)
    test = judged(200, 3)
    answers = Classify().answers(Mlp.load(folder), test["text"].to_list())
    assert np.mean([a.written == b for a, b in zip(answers, test["label"], strict=True)]) >= 0.9
