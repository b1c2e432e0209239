"""The n-gram family at the tasks beside one label of several: labels, values, pairs, entities."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from feilun.core.records import SPANS
from feilun.models.family import LabelUnknown, Lesson, NothingLabelled, NothingToLearn
from feilun.models.folder import NotAModel, load, read_card, read_task, write_card
from feilun.models.ngram import Ngram, native, pairs, predict, regression, training
from feilun.models.ngram.calibration import independent
from feilun.models.ngram.goal import Several, exclusive, several
from feilun.models.ngram.text import lines
from feilun.tasks import Classify, Task
from feilun.tasks.match import Match
from feilun.tasks.regress import NotANumber, Regress
from feilun.tasks.tag import Tag

THINGS = {"room": "房间", "food": "早餐 breakfast", "staff": "服务员", "price": "价格"}
MULTIPLE = Classify(multiple=True)
ANY_TEXT = st.text(max_size=30) | st.text("ab 好差1\n\0", max_size=20)


class Quiet:
    """As much of a `Run` as `fit` uses."""

    def __init__(self, seed: int = 7) -> None:
        self.seed = seed
        self.logged: dict[str, float] = {}
        self.heard: list[float] = []

    def progress(self, done: float, total: float, what: str = "") -> None:
        self.heard.append(done / total)

    def log(self, metric: str, value: float, step: int = 0) -> None:
        self.logged[metric] = value


def fitted(folder: Path, lesson: Lesson, seed: int = 7, **chosen):
    folder.mkdir(parents=True, exist_ok=True)
    run = Quiet(seed)
    Ngram(**{"bits": 14, **chosen}).fit(lesson, folder, run)
    return run


def lesson_of(rows, task: Task, labels=(), validation=0, **more) -> Lesson:
    frame = pl.DataFrame(rows)
    return Lesson(frame, frame.head(validation), tuple(labels), task, **more)


def texts_of_labels(num: int = 120, seed: int = 1) -> list[dict[str, str]]:
    """Texts that name each of their labels, and some noise."""
    dice = np.random.default_rng(seed)
    rows = []
    for i in range(num):
        held = [label for label in sorted(THINGS) if dice.random() < 0.4]
        said = [THINGS[label] for label in held] + ["天气好", f"no {i}"]
        rows.append({"text": "，".join(said), "label": "|".join(held)})
    return rows


def texts_of_values(num: int = 150, seed: int = 2) -> list[dict[str, str]]:
    """Texts whose words add up to their value."""
    dice, worth = np.random.default_rng(seed), {"好": 1.0, "棒": 2.0, "差": -1.0, "糟": -2.0}
    rows = []
    for i in range(num):
        said = dice.choice(list(worth), size=3)
        value = 10 + sum(worth[str(word)] for word in said)
        rows.append({"id": f"{i}", "text": "，".join(said) + f" {i}", "label": f"{value:g}"})
    return rows


def pair(first: str, second: str, label: str) -> dict[str, object]:
    spans = [
        {"start": 0, "end": len(first), "label": "first"},
        {"start": len(first) + 1, "end": len(first) + 1 + len(second), "label": "second"},
    ]
    return {"id": first, "text": f"{first}\n{second}", "label": label, "spans": spans}


def texts_in_pairs(num: int = 160, seed: int = 3) -> list[dict[str, object]]:
    """Pairs that differ in a particle («1»), in what they judge or in a number («0»)."""
    dice, rows = np.random.default_rng(seed), []
    things = ["房间", "早餐", "服务", "价格", "前台", "大堂", "网络", "空调"]
    for i in range(num):
        thing, other = (str(one) for one in dice.choice(things, size=2, replace=False))
        first = f"{thing}非常好，第{i}天"
        second, label = [
            (f"{thing}真的非常好，第{i}天了", "1"),
            (f"{thing}非常差，第{i}天", "0"),
            (f"{other}非常好，第{i}天", "0"),
            (f"第{i}天，{thing}非常好", "1"),
        ][i % 4]
        rows.append(pair(first, second, label))
    return rows


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labelled")
    fitted(folder, lesson_of(texts_of_labels(), MULTIPLE, sorted(THINGS)))
    return folder


@pytest.fixture(scope="module")
def valued(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valued")
    fitted(folder, lesson_of(texts_of_values(), Regress()))
    return folder


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paired")
    fitted(folder, lesson_of(texts_in_pairs(), Match(), ("0", "1")))
    return folder


# ---- Several labels -------------------------------------------------------------------------


def test_each_label_is_answered_by_itself(labelled):
    predictor = load(labelled)
    assert predictor.labels == tuple(sorted(THINGS))
    scores = predictor.scores(["房间，早餐 breakfast", "价格", "天气好", ""])
    assert (scores[:3] >= 0.5).tolist() == [
        [True, False, True, False], [False, True, False, False], [False] * 4,
    ]  # fmt: skip
    assert np.isnan(scores[3]).all()
    fresh = texts_of_labels(60, seed=9)
    answers = MULTIPLE.answers(predictor, [row["text"] for row in fresh])
    right = [answer.written == row["label"] for answer, row in zip(answers, fresh, strict=True)]
    assert np.mean(right) > 0.9


def test_the_scores_are_those_of_the_arrays(labelled):
    arrays = load_file(labelled / "model.safetensors")
    text = "房间 早餐 no 3"
    shape = native.Shape(1, 4, 2, 14)
    buckets, counts, _sizes = native.grams(native.texts(lines([text]), 1), shape, 0, 1)
    at = {int(bucket): i for i, bucket in enumerate(arrays["buckets"])}
    known = [(at[b], c) for b, c in zip(buckets.tolist(), counts.tolist(), strict=True) if b in at]
    values = np.array([c * arrays["scale"][i] for i, c in known], dtype=float)
    margins = sum(c * arrays["weights"][i].astype(float) for i, c in known)
    z = arrays["slope"] * (margins / np.sqrt((values**2).sum()) + arrays["bias"]) + arrays["shift"]
    assert load(labelled).scores([text])[0] == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY_TEXT, max_size=5))
def test_probabilities_of_labels_are_probabilities(labelled, texts):
    scores = load(labelled).scores(texts)
    assert scores.shape == (len(texts), 4)
    assert scores.dtype == np.float32
    for row in scores:
        assert np.isnan(row).all() or ((row >= 0) & (row <= 1)).all()


def test_one_half_is_where_f1_is_best():
    """Of probabilities known to be right, no other threshold has a greater expected F1."""
    dice = np.random.default_rng(4)
    margins = dice.normal(-1.5, 1.5, size=(20_000, 1))
    chance = 1 / (1 + np.exp(-margins[:, 0]))
    held = (dice.random(20_000) < chance)[:, None]
    found = independent(margins, held)
    answered = found.slope[0] * margins[:, 0] + found.shift[0] >= 0

    def expected(given_):
        return 2 * chance[given_].sum() / (given_.sum() + chance.sum())

    best = max(expected(chance >= at) for at in np.linspace(0.05, 0.9, 200))
    assert expected(answered) == pytest.approx(best, abs=0.002)
    assert expected(chance >= 0.5) < best - 0.01


def test_a_label_that_nothing_tells_is_not_given_to_every_text():
    dice = np.random.default_rng(6)
    held = np.zeros((1000, 1), dtype=bool)
    held[:9] = True
    margins = np.where(held, -1.2, -1.0) + 0.01 * dice.normal(size=(1000, 1))
    found = independent(margins, held)
    assert not (found.slope[0] * margins[:, 0] + found.shift[0] >= 0).any()


def test_labels_that_none_or_one_or_all_texts_have(tmp_path):
    rows = texts_of_labels(30)
    for row in rows:
        row["label"] = "|".join(["all", *(row["label"].split("|") if row["label"] else [])])
    rows[4] = {"text": "请开发票", "label": "all|rare"}
    labels = sorted([*THINGS, "all", "never", "rare"])
    fitted(tmp_path, lesson_of(rows, MULTIPLE, labels))
    held = load(tmp_path).scores(["请开发票", "房间"]) >= 0.5
    assert held[0].tolist() == [label in ("all", "rare") for label in labels]
    assert not held[:, labels.index("never")].any()


# ---- A value --------------------------------------------------------------------------------


def test_values_are_learnt_with_an_interval(valued):
    predictor = load(valued)
    assert predictor.labels == ()
    fresh = texts_of_values(80, seed=8)
    truth = np.array([float(row["label"]) for row in fresh])
    found = predictor.scores([row["text"] for row in fresh])
    assert found.shape == (80, 1)
    assert np.corrcoef(found[:, 0], truth)[0, 1] > 0.95
    low, high = predictor.interval
    assert low < 0 < high
    residuals = truth - found[:, 0]
    assert ((residuals >= low) & (residuals <= high)).mean() > 0.8
    assert np.isnan(predictor.scores(["", " "])).all()
    (answer,) = Regress().answers(predictor, ["好，棒，棒"])
    assert float(answer.written) == pytest.approx(15, abs=1)


def test_ridge_finds_the_optimum_of_the_normal_equations():
    dice, num, wide, cost = np.random.default_rng(3), 60, 12, 0.7
    x = dice.normal(size=(num, wide))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    target = x @ dice.normal(size=wide) + 0.1 * dice.normal(size=num)
    rows = native.Rows(
        np.arange(num + 1) * wide,
        np.tile(np.arange(wide, dtype=np.int32), num),
        x.astype(np.float32).ravel(),
    )
    weights, alpha = np.zeros(wide + 1, dtype=np.float32), np.zeros(num)
    epochs = native.ridge(
        rows, np.arange(num, dtype=np.int32), target, np.full(num, 0.5 / cost), alpha, weights,
        native.Until(1e-6, 1000, 1),
    )  # fmt: skip
    one = np.hstack([x, np.ones((num, 1))])
    exact = np.linalg.solve(np.eye(wide + 1) + 2 * cost * one.T @ one, 2 * cost * one.T @ target)
    assert weights == pytest.approx(exact, abs=1e-5)
    assert 1 < epochs < 1000


@pytest.mark.parametrize("labels", [["3"] * 8, ["3"], ["1", "2"], ["-1e30", "1e30", "0", "5"]])
def test_constant_few_and_far_values(tmp_path, labels):
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
    fitted(tmp_path, lesson_of(rows, Regress()))
    predictor = load(tmp_path)
    scores = predictor.scores([row["text"] for row in rows])
    assert np.isfinite(scores).all()
    if len(set(labels)) == 1:
        assert scores == pytest.approx(3)
        assert predictor.interval == pytest.approx((0, 0))


def test_what_is_no_number_is_refused(tmp_path):
    rows = [{"text": "a", "label": "3"}, {"text": "b", "label": "many"}]
    with pytest.raises(NotANumber, match="many"):
        fitted(tmp_path, lesson_of(rows, Regress()))


# ---- Pairs ----------------------------------------------------------------------------------


def test_pairs_are_learnt(paired):
    predictor = load(paired)
    assert predictor.labels == ("0", "1")
    fresh = pl.DataFrame(texts_in_pairs(80, seed=5))
    scores = predictor.scores(Match().inputs(fresh))
    right = scores.argmax(axis=1) == fresh["label"].cast(pl.Int64).to_numpy()
    assert right.mean() > 0.9
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=5))
def test_the_order_of_the_two_texts_does_not_matter(paired, given_):
    predictor = load(paired)
    scores = predictor.scores(given_)
    turned = predictor.scores([(second, first) for first, second in given_])
    assert np.array_equal(scores, turned, equal_nan=True)
    alone = np.vstack([predictor.scores([one]) for one in given_])
    assert alone == pytest.approx(scores, abs=1e-6, nan_ok=True)
    for (first, second), row in zip(given_, scores, strict=True):
        blank = any(not native_grams(text) for text in (first, second))
        assert np.isnan(row).all() == blank


def native_grams(text: str) -> int:
    shape = native.Shape(1, 4, 2, 14)
    return len(native.grams(native.texts(lines([text]), 1), shape, 0, 1)[0])


def test_three_labels_of_pairs(tmp_path):
    rows = [{**row, "label": "abc"[i % 4 % 3]} for i, row in enumerate(texts_in_pairs(120))]
    fitted(tmp_path, lesson_of(rows, Match(), ("a", "b", "c")))
    scores = load(tmp_path).scores([("房间好", "房间好"), ("", "房间")])
    assert scores.shape == (2, 3)
    assert scores[0].sum() == pytest.approx(1, abs=1e-6)
    assert np.isnan(scores[1]).all()


def test_figures_of_a_pair_are_what_they_say():
    shape = native.Shape(1, 1, 1, 12)
    known = pairs.Vocabulary(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32), 1.0)
    reader = pairs.PairReader(shape, known)
    same = reader.read([("ab 12", "ab 12")]).dense
    assert same == pytest.approx(1)
    # «a c» and «a d», with the spaces around: a, space (of damped count 1 + ln 3), c or d.
    other = (reader.read([("a c", "a d")]).dense[0] + 1) / 2
    space = 1 + np.log(3)
    shared = 1 + space
    assert other[:3] == pytest.approx(
        [(1 + space**2) / (2 + space**2), shared / (shared + 2), shared / (shared + 1)]
    )
    assert other[3:6] == pytest.approx([1 / 2, 1 / 3, 1 / 2])
    assert other[6:] == pytest.approx([1, pairs.NOTHING])
    assert (reader.read([("a 3 4", "b 3 5")]).dense[0][-1] + 1) / 2 == pytest.approx(1 / 3)


def test_many_pairs_answer_as_one_by_one(paired, monkeypatch):
    predictor = load(paired)
    inputs = Match().inputs(pl.DataFrame(texts_in_pairs(40)))
    wanted = predictor.scores(inputs)
    monkeypatch.setattr(pairs, "AT_ONCE", 7)
    for count in (1, 3):
        monkeypatch.setattr(pairs, "usable_cores", lambda count=count: count)
        assert predictor.scores(inputs) == pytest.approx(wanted, abs=1e-7)
    assert predictor.scores([]).shape == (0, 2)


# ---- Embeddings -----------------------------------------------------------------------------


def test_embeddings_keep_the_cosines_of_tf_idf(paired):
    predictor = load(paired)
    arrays = load_file(paired / "model.safetensors")
    idf = np.full(2**14, arrays["rare"][0])
    idf[arrays["buckets"]] = arrays["idf"]
    texts = ["房间非常好", "房间非常差", "空调很好，第3天", "something else", "房间非常好！"] * 8
    texts = [f"{text}{i}" for i, text in enumerate(texts)]
    shape, exact = native.Shape(1, 4, 2, 14), np.zeros((len(texts), 2**14))
    for row, text in zip(exact, texts, strict=True):
        buckets, counts, _sizes = native.grams(native.texts(lines([text]), 1), shape, 0, 1)
        row[buckets] = counts * idf[buckets]
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    found = predictor.embeddings(texts)
    assert found.shape == (len(texts), predict.WIDTH)
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-6)
    off = found @ found.T - exact @ exact.T
    assert np.sqrt((off**2).mean()) < 1.5 / np.sqrt(predict.WIDTH)


@pytest.mark.parametrize("which", ["labelled", "valued", "paired"])
def test_embeddings_of_what_is_unknown_are_nan(which, request):
    predictor = load(request.getfixturevalue(which))
    found = predictor.embeddings(["", "房间非常好，棒"])
    assert np.isnan(found[0]).all()
    assert np.linalg.norm(found[1]) == pytest.approx(1, abs=1e-6)
    assert predictor.embeddings([]).shape == (0, predict.WIDTH)
    many = ["房间非常好，棒"] * (predict.SMALL_BATCH + 1)
    assert np.array_equal(predictor.embeddings(many)[-1], found[1])


# ---- Entities -------------------------------------------------------------------------------


def test_entities_are_learnt(tmp_path):
    rows = []
    for i, (who, where) in enumerate([("张伟", "北京"), ("李娜", "上海"), ("王芳", "广州")] * 20):
        text = f"{who}去了{where}第{i}次"
        spans = [
            {"start": 0, "end": 2, "label": "PER"}, {"start": 4, "end": 6, "label": "LOC"},
        ]  # fmt: skip
        rows.append({"id": str(i), "text": text, "label": None, "spans": spans})
    run = fitted(tmp_path, lesson_of(rows, Tag(), ("LOC", "PER"), validation=6), bits=16)
    assert run.logged["accuracy"] > 0.9
    predictor = load(tmp_path)
    (found,) = predictor.entities(["李娜去了北京第7次"])
    assert [(one.start, one.end, one.label) for one in found] == [(0, 2, "PER"), (4, 6, "LOC")]
    assert read_task(read_card(tmp_path)).use == "tag"
    assert read_card(tmp_path)["units"] in {"characters", "words"}
    untagged = pl.DataFrame(rows[:1]).with_columns(spans=pl.lit(None, dtype=SPANS))
    with pytest.raises(NothingLabelled, match="None of the 1 "):
        fitted(tmp_path, Lesson(untagged, untagged.head(0), ("PER",), Tag()))
    estimate = Ngram(bits=16).estimate(lesson_of(rows, Tag(), ("LOC", "PER")), 60, Quiet())
    assert estimate.seconds > 0


# ---- All of them ----------------------------------------------------------------------------

LESSONS = {
    "labels": lambda: lesson_of(texts_of_labels(60), MULTIPLE, sorted(THINGS), validation=9),
    "value": lambda: lesson_of(texts_of_values(60), Regress(), validation=9),
    "pairs": lambda: lesson_of(texts_in_pairs(60), Match(), ("0", "1"), validation=9),
}


@pytest.mark.parametrize("which", LESSONS)
def test_the_same_work_gives_the_same_bytes_with_any_number_of_threads(
    tmp_path, monkeypatch, which
):
    digests = []
    for count in (1, 3):
        for module in (native, predict, training, pairs):
            monkeypatch.setattr(module, "usable_cores", lambda count=count: count)
        run = fitted(tmp_path / str(count), LESSONS[which]())
        digests.append({p.name: p.read_bytes() for p in (tmp_path / str(count)).iterdir()})
    assert digests[0] == digests[1]
    assert set(digests[0]) == {"README.md", "config.json", "feilun.json", "model.safetensors"}
    assert run.heard[-1] == 1.0
    assert run.logged["mae" if which == "value" else "accuracy"] >= 0


@pytest.mark.parametrize("which", LESSONS)
def test_an_estimate_keeps_the_settings(which):
    family, seconds = Ngram(bits=14).estimate(LESSONS[which](), 60, Quiet())
    assert family == Ngram(bits=14)
    assert seconds > 0


@pytest.mark.parametrize("task", [Classify(), MULTIPLE, Regress(), Match()])
def test_no_record_or_no_label_is_told(tmp_path, task):
    labels = () if task.use == "regress" else ("a", "b")
    nothing = pl.DataFrame(
        [{**pair("a", "b", "a"), "label": None}], schema_overrides={"label": pl.String}
    )
    with pytest.raises(NothingLabelled, match="None of the 1 "):
        fitted(tmp_path, Lesson(nothing, nothing.head(0), labels, task))
    with pytest.raises(NothingToLearn):
        fitted(tmp_path, Lesson(nothing.head(0), nothing.head(0), labels, task))
    if labels:
        with pytest.raises(NothingLabelled):
            fitted(tmp_path, lesson_of([pair("a", "b", "")], task))
        with pytest.raises(LabelUnknown):
            fitted(tmp_path, lesson_of([pair("a", "b", "other")], task, labels))


@pytest.mark.parametrize("num_others", [1, 5, 40, 300])
@pytest.mark.parametrize("labels", [("odd", "usual"), ("a", "odd", "usual")])
def test_a_class_of_one_text_is_learnt(tmp_path, labels, num_others):
    odd = "请把发票寄到我的邮箱"
    rows = [{"text": odd, "label": "odd"}]
    rows += [
        {"text": f"{'房间很好' if i % 2 else '早餐不错'} {i}", "label": labels[2 * (i % 2) - 1]}
        if len(labels) > 2
        else {"text": f"房间很好 {i}", "label": "usual"}
        for i in range(num_others)
    ]
    rows = [{**row, "label": "usual" if row["label"] == "odd" and i else row["label"]}
            for i, row in enumerate(rows)]  # fmt: skip
    fitted(tmp_path, lesson_of(rows, Classify(), labels))
    assert labels[load(tmp_path).scores([odd])[0].argmax()] == "odd"


@pytest.mark.parametrize("task", [Classify(), MULTIPLE, Regress(), Match()])
def test_a_vocabulary_of_one_character_trains(tmp_path, task):
    rows = [pair("a", "a", str(i % 2)) for i in range(6)]
    labels = () if task.use == "regress" else ("0", "1")
    fitted(tmp_path, lesson_of(rows, task, labels))
    given_ = [("a", "a")] if task.use == "match" else ["a"]
    assert np.isfinite(load(tmp_path).scores(given_)).all()


# ---- A teacher --------------------------------------------------------------------------------


def test_a_teacher_says_the_label_and_how_sure_it_is():
    rows = [{"text": "a", "label": "x"}, {"text": "b", "label": None}, {"text": "c", "label": "y"}]
    soft = np.array([[np.nan, np.nan], [0.1, 0.9], [0.5, 0.5]], dtype=np.float32)
    goal = exclusive(lesson_of(rows, Classify(), ("x", "y"), soft=soft))
    assert goal.truth.tolist() == [0, 1, 0]
    assert goal.weight(0) == pytest.approx([1, 0.8, 1e-3])
    rows[1]["label"] = "x|y"
    goal = several(lesson_of(rows, MULTIPLE, ("x", "y"), soft=soft))
    assert isinstance(goal, Several)
    assert goal.held.tolist() == [[True, False], [False, True], [True, True]]
    assert goal.weight(1) == pytest.approx([1, 0.8, 1e-3])
    rows = [{"text": "a", "label": "3"}, {"text": "b", "label": None}]
    taught = np.array([[np.nan], [5.0]], dtype=np.float32)
    assert regression.values(lesson_of(rows, Regress(), soft=taught)).tolist() == [3, 5]


def test_a_surer_teacher_moves_the_machine_more(tmp_path):
    rows = [{"text": text, "label": None} for text in ("好 a", "差 b", "好 c", "差 d")] * 5
    frame = pl.DataFrame(rows, schema_overrides={"label": pl.String})
    margins = []
    for sure in (0.6, 0.99):
        soft = np.array([[1 - sure, sure], [sure, 1 - sure]] * 10, dtype=np.float32)
        fitted(
            tmp_path / str(sure),
            Lesson(frame, frame.head(0), ("bad", "good"), Classify(), soft=soft), bits=16,
        )  # fmt: skip
        assert load(tmp_path / str(sure)).scores(["好", "差"]).argmax(axis=1).tolist() == [1, 0]
        arrays = load_file(tmp_path / str(sure) / "model.safetensors")
        margins.append(np.abs(arrays["weights"]).sum())
    assert margins[0] < margins[1]


# ---- A folder that is not what fit wrote --------------------------------------------------------


def changed_copy(model, folder, card=None, **changed):
    shutil.copytree(model, folder)
    arrays = load_file(folder / "model.safetensors")
    for name, change in changed.items():
        arrays[name] = np.ascontiguousarray(change(arrays[name]))
    save_file(arrays, folder / "model.safetensors")
    if card is not None:
        written = json.loads((folder / "feilun.json").read_text("utf-8"))
        (folder / "feilun.json").write_text(json.dumps({**written, **card}), encoding="utf-8")
    return folder


def put(array, at, value):
    array = array.copy()
    array[at] = value
    return array


@pytest.mark.parametrize(
    ("which", "changed"),
    [
        ("labelled", {"slope": lambda a: a[:1]}),
        ("labelled", {"weights": lambda a: a[:, :1]}),
        ("labelled", {"shift": lambda a: put(a, 0, np.nan)}),
        ("valued", {"slope": lambda a: np.hstack([a, a])}),
        ("valued", {"shift": lambda a: a[:0]}),
        ("paired", {"buckets": lambda a: put(a, -1, 2**14)}),
        ("paired", {"buckets": lambda a: a[::-1]}),
        ("paired", {"idf": lambda a: a[:-1]}),
        ("paired", {"idf": lambda a: put(a, 0, -1)}),
        ("paired", {"rare": lambda a: put(a, 0, np.inf)}),
        ("paired", {"rare": lambda a: a[:0]}),
        ("paired", {"scale": lambda a: a[: len(a) // 2]}),
        ("paired", {"scale": lambda a: put(a, 0, 1e30)}),
        ("paired", {"weights": lambda a: a[:, :-1]}),
        ("paired", {"weights": lambda a: np.vstack([a, a])}),
        ("paired", {"weights": lambda a: put(a, (0, 0), 1e30)}),
        ("valued", {"card": {"interval": [1, 0]}}),
        ("valued", {"card": {"interval": [0]}}),
        ("valued", {"card": {"interval": ["0", "1"]}}),
        ("valued", {"card": {"interval": [float("-inf"), 1]}}),
        ("valued", {"card": {"labels": ["a"]}}),
        ("valued", {"card": {"task": "classify"}}),
        ("labelled", {"card": {"task": "classify"}}),
        ("labelled", {"card": {"task": "match"}}),
        ("paired", {"card": {"task": "tag"}}),
        ("paired", {"card": {"task": "no such"}}),
        ("paired", {"card": {"task": ["match"]}}),
        ("paired", {"card": {"task": {"use": "match", "more": 1}}}),
        ("paired", {"card": {"settings": {"max_words": 0, "bits": 14}}}),
    ],
)
def test_hostile_folders_are_refused(tmp_path, request, which, changed):
    folder = changed_copy(request.getfixturevalue(which), tmp_path / "copy", **changed)
    with pytest.raises(NotAModel):
        load(folder)


def test_enormous_weights_of_pairs_still_give_a_distribution(paired, tmp_path):
    folder = changed_copy(
        paired, tmp_path / "copy",
        weights=lambda a: np.full_like(a, 1e15), scale=lambda a: np.full_like(a, 1e15),
        idf=lambda a: np.full_like(a, 1e15), slope=lambda a: np.full_like(a, 1e15),
    )  # fmt: skip
    predictor = load(folder)
    assert predictor.scores([("房间", "房间好")])[0].sum() == pytest.approx(1)
    assert np.linalg.norm(predictor.embeddings(["房间好"])[0]) == pytest.approx(1, abs=1e-6)


def test_a_card_says_the_task_and_an_old_one_is_of_classify(tmp_path, labelled, valued):
    assert read_card(labelled)["task"] == {"use": "classify", "multiple": True}
    assert read_task(read_card(labelled)) == MULTIPLE
    card = read_card(valued)
    assert (card["task"], card["labels"], len(card["interval"])) == ("regress", [], 2)
    write_card(tmp_path, "ngram", ["a"], {}, more=[1])
    assert read_card(tmp_path)["more"] == [1]
    assert read_task(read_card(tmp_path)) == Classify()
    assert read_task({}) == Classify()
