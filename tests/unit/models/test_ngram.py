"""The n-gram family against a slow reference written from its definition, and against abuse."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load_file, save_file

from feilun.core.compiled import KernelsMissing
from feilun.models.family import LabelUnknown, Lesson, NothingToLearn
from feilun.models.folder import NotAModel
from feilun.models.ngram import Ngram, native, predict, training
from feilun.models.ngram.calibration import calibrated
from feilun.models.ngram.text import LONG, lines

GOOD = ["很好，非常满意", "房间干净 good", "喜欢！very good", "服务好", "推荐 👍", "great 房间"]
BAD = ["很差，非常失望", "房间脏 bad", "讨厌！very bad", "服务差", "退款 👎", "awful 房间"]
ANY_TEXT = st.text(st.characters(), max_size=60) | st.text("ab 好\n\0\ud800👍é́", max_size=30)
WORD = 2**64 - 1


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


def _lesson(rows: pl.DataFrame) -> Lesson:
    return Lesson(rows, rows.head(0), tuple(sorted(set(rows["label"]))))


def frame(copies: int = 1) -> pl.DataFrame:
    texts = [f"{text} {i}" for i in range(copies) for text in (*GOOD, *BAD)]
    return pl.DataFrame({"text": texts, "label": (["good"] * 6 + ["bad"] * 6) * copies})


def trained(folder: Path, records: pl.DataFrame, labels=("bad", "good"), seed=7, **chosen):
    folder.mkdir(parents=True, exist_ok=True)
    run = Quiet(seed)
    Ngram(**{"bits": 16, **chosen}).fit(
        Lesson(records, records.head(3), tuple(labels)), folder, run
    )
    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    trained(folder, frame(4))
    return folder


# ---- The reference: a dictionary at a time, in Python's integers -----------------------------


def mix(state, item):
    state = (state ^ item) * 0x9E3779B97F4A7C15 & WORD
    return state ^ state >> 32


def is_word(char):
    c = ord(char)
    if c < 0x80:
        return char.isalnum() or char == "_"
    return (
        (0xC0 <= c < 0x2000 and c not in (0xD7, 0xF7) and not 0xE00 <= c < 0xF00
         and not 0x1000 <= c <= 0x109F and not 0x1780 <= c <= 0x17FF)
        or 0xAC00 <= c <= 0xD7A3
    )  # fmt: skip


def reference_grams(line, min_chars, max_chars, max_words, bits):
    """Bucket → count of one normalised line."""
    for space in "\t\n\v\f\r":
        line = line.replace(space, " ")
    inner = " ".join(part for part in line.split(" ") if part)
    if not inner:
        return Counter()
    text, found = f" {inner} ", Counter()
    for i in range(len(text)):
        for n in range(min_chars, max_chars + 1):
            if i + n <= len(text):
                state = 0x243F6A8885A308D3
                for char in text[i : i + n]:
                    state = mix(state, ord(char))
                found[state * 0xD6E8FEB86659FD93 % 2**64 >> 64 - bits] += 1
    runs, word = [[]], ""
    for char in text:
        if is_word(char):
            word += char
            continue
        if word:
            state = 0x13198A2E03707344
            for part in word:
                state = mix(state, ord(part))
            runs[-1].append(state)
            word = ""
        if char != " ":
            runs.append([])
    for run in runs:
        for end in range(len(run)):
            for n in range(1, min(max_words, end + 1) + 1):
                state = run[end - n + 1]
                for later in run[end - n + 2 : end + 1]:
                    state = mix(state, later)
                state = mix(state, 0x13198A2E03707344)
                found[state * 0xD6E8FEB86659FD93 % 2**64 >> 64 - bits] += 1
    return found


def reference_score(folder, text):
    """The probabilities of one text, from the arrays alone; None where nothing is known."""
    arrays = load_file(folder / "model.safetensors")
    chosen = json.loads((folder / "config.json").read_text("utf-8"))
    orders = (chosen[key] for key in ("min_chars", "max_chars", "max_words", "bits"))
    line = lines([text]).decode("utf-8", "surrogatepass")
    at = {int(bucket): i for i, bucket in enumerate(arrays["buckets"])}
    margin, square = np.zeros(arrays["weights"].shape[1]), 0.0
    for bucket, count in reference_grams(line, *orders).items():
        if bucket in at:
            damped = 1 + math.log(count)
            square += float(damped * arrays["scale"][at[bucket]]) ** 2
            margin += damped * arrays["weights"][at[bucket]].astype(float)
    if square == 0:
        return None
    margin = margin / math.sqrt(square) + arrays["bias"]
    own = margin if len(margin) > 1 else np.array([0.0, margin[0]])
    z = arrays["slope"][0] * own + arrays["shift"]
    return np.exp(z - z.max()) / np.exp(z - z.max()).sum()


def native_grams(text, shape):
    found = native.texts(lines([text]), 1)
    buckets, values, sizes = native.grams(found, native.Shape(*shape), 0, 1)
    assert sizes.tolist() == [len(buckets)]
    return dict(zip(buckets.tolist(), values.tolist(), strict=True))


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT, st.sampled_from([(1, 3, 0, 22), (2, 4, 2, 12), (1, 1, 4, 26), (3, 8, 3, 16)]))
def test_grams_are_those_of_the_reference(text, shape):
    wanted = reference_grams(lines([text]).decode("utf-8", "surrogatepass"), *shape)
    found = native_grams(text, shape)
    assert found.keys() == wanted.keys()
    for bucket, count in wanted.items():
        assert found[bucket] == pytest.approx(1 + math.log(count), rel=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.one_of(ANY_TEXT, st.sampled_from(GOOD + BAD), st.text("好差 goodbad", max_size=40)))
def test_scores_are_those_of_the_reference(model, text):
    (found,) = Ngram.load(model).scores([text])
    wanted = reference_score(model, text)
    if wanted is None:
        assert np.isnan(found).all()
    else:
        assert found == pytest.approx(wanted, abs=2e-6)


def test_weighing_is_tf_idf_of_unit_length():
    starts = np.array([0, 3, 3, 4])
    rows = native.Rows(
        starts, np.array([0, 2, 1, 2], dtype=np.int32), np.array([1, 2, 1, 1.5], dtype=np.float32)
    )
    scale = np.array([1, 2, 3], dtype=np.float32)
    weighed = native.weigh(rows, scale).values
    whole = np.array([1, 6, 2])
    assert weighed == pytest.approx([*(whole / math.sqrt(41)), 1.0])
    assert native.count_rows(rows, np.array([0, 2], dtype=np.int32), 3).tolist() == [1, 1, 2]


def test_the_machine_finds_the_optimum_that_its_gradient_names():
    """At the optimum of |w|²/2 + C Σ max(0, 1 − y w·x)², w = 2C Σ max(0, 1 − y w·x) y x."""
    dice, num, wide, cost = np.random.default_rng(3), 60, 12, 0.7
    x = dice.normal(size=(num, wide))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    sign = np.where(x[:, 0] + 0.3 * dice.normal(size=num) > 0, 1, -1).astype(np.int8)
    rows = native.Rows(
        np.arange(num + 1) * wide,
        np.tile(np.arange(wide, dtype=np.int32), num),
        x.astype(np.float32).ravel(),
    )
    weights = np.zeros(wide + 1, dtype=np.float32)
    native.solve(
        rows, np.arange(num, dtype=np.int32), sign, np.full(num, 0.5 / cost), np.zeros(num),
        weights, native.Until(1e-6, 1000, 1),
    )  # fmt: skip
    with_bias = np.hstack([x, np.ones((num, 1))])
    lack = np.maximum(0, 1 - sign * (with_bias @ weights))
    assert weights == pytest.approx(2 * cost * (lack * sign) @ with_bias, abs=1e-4)
    all_rows = np.arange(num, dtype=np.int32)
    assert native.margins(rows, all_rows, weights) == pytest.approx(with_bias @ weights, abs=1e-5)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_calibration_finds_the_slope_that_made_the_labels(num_classes):
    dice = np.random.default_rng(5)
    margins = dice.normal(size=(20_000, 1 if num_classes == 2 else num_classes))
    own = margins if num_classes > 2 else np.hstack([np.zeros_like(margins), margins])
    shift = np.array([0.0, 0.7, -0.4])[:num_classes]
    z = 3 * own + shift
    chance = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    truth = (dice.random((len(z), 1)) > chance.cumsum(axis=1)[:, :-1]).sum(axis=1)
    found = calibrated(margins, truth, num_classes)
    assert found.slope == pytest.approx(3, abs=0.15)
    assert found.shift == pytest.approx(shift, abs=0.1)


def test_calibration_of_faultless_or_senseless_margins_stays_finite():
    truth = np.array([0, 1] * 20)
    sure = calibrated(np.where(truth, 5.0, -5.0)[:, None], truth, 2)
    assert 0 < sure.slope < 10
    backwards = calibrated(np.where(truth, -1.0, 1.0)[:, None], truth, 2)
    assert backwards.slope > 0
    assert backwards.shift.tolist() == [0, 0]


# ---- Training -----------------------------------------------------------------------------


def test_it_learns_what_there_is_to_learn(model):
    predictor = Ngram.load(model)
    scores = predictor.scores(["这家很好", "这家很差", "good", "bad"])
    assert predictor.labels == ("bad", "good")
    assert scores.argmax(axis=1).tolist() == [1, 0, 1, 0]


def test_the_same_work_gives_the_same_bytes_with_any_number_of_threads(tmp_path, monkeypatch):
    records = frame(20)
    third = records.with_columns(label=pl.Series(["a", "b", "c"] * (len(records) // 3)))
    for given_, labels in ((records, ("bad", "good")), (third, ("a", "b", "c"))):
        digests = []
        for count in (1, 2, 3):
            for module in (native, predict, training):
                monkeypatch.setattr(module, "usable_cores", lambda count=count: count)
            folder = tmp_path / f"{len(labels)}-{count}"
            trained(folder, given_, labels)
            digests.append({path.name: path.read_bytes() for path in folder.iterdir()})
        assert digests[0] == digests[1] == digests[2]
        assert set(digests[0]) == {"README.md", "config.json", "feilun.json", "model.safetensors"}
    trained(tmp_path / "other", records, seed=8)
    other = (tmp_path / "other" / "model.safetensors").read_bytes()
    assert other != (tmp_path / "2-1" / "model.safetensors").read_bytes()


def test_only_n_grams_of_enough_texts_are_kept(tmp_path):
    records = frame()
    seen = Counter()
    for line in lines(records["text"].to_list()).decode().split("\n"):
        seen.update(reference_grams(line, 1, 4, 2, 16).keys())
    for least in (1, 2, 3):
        trained(tmp_path / str(least), records, min_texts=least)
        kept = load_file(tmp_path / str(least) / "model.safetensors")["buckets"].tolist()
        assert kept == sorted(bucket for bucket, texts in seen.items() if texts >= least)


def test_progress_and_figures_are_told(tmp_path):
    run = trained(tmp_path, frame(3))
    assert run.heard == [0.25, 0.5, 0.75, 1.0]
    assert run.logged["accuracy"] == 1.0
    assert run.logged["features"] > 100


def test_a_rare_label_weighs_as_much_as_a_frequent_one_when_balanced(tmp_path):
    records = pl.concat([frame().head(6)] * 20 + [frame().tail(6)])
    chances = []
    for name in ("none", "balanced"):
        trained(tmp_path / name, records, class_weight=name, folds=2)
        arrays = load_file(tmp_path / name / "model.safetensors")
        chances.append(float(arrays["bias"][0]))
    assert chances[1] < chances[0]  # less drawn to the frequent label, the second


@pytest.mark.parametrize("labels", [("good",), ("bad", "good"), ("bad", "good", "never")])
def test_one_two_or_absent_labels(tmp_path, labels):
    records = frame().filter(pl.col("label").is_in(labels))
    trained(tmp_path, records, labels)
    scores = Ngram.load(tmp_path).scores(["很好", "", "很差"])
    assert scores.shape == (3, len(labels))
    assert scores[0].sum() == pytest.approx(1, abs=1e-6)
    assert np.isnan(scores[1]).all()


def test_records_without_content_or_too_few_for_the_folds(tmp_path):
    empty = pl.DataFrame({"text": ["", " \n"], "label": ["bad", "good"]})
    trained(tmp_path / "empty", empty)
    assert np.isnan(Ngram.load(tmp_path / "empty").scores(["好"])).all()
    trained(tmp_path / "one", frame().head(1))
    assert np.isfinite(Ngram.load(tmp_path / "one").scores(["很好"])).all()


def test_nothing_to_learn_from_is_refused(tmp_path):
    with pytest.raises(NothingToLearn, match="the 0 training texts"):
        trained(tmp_path, frame().head(0))
    with pytest.raises(LabelUnknown, match="'good'"):
        trained(tmp_path, frame(), labels=("bad", "fine"))


def test_the_estimate_keeps_the_settings_and_grows_with_the_records():
    family, few = Ngram(bits=16).estimate(_lesson(frame(100)), 60, Quiet())
    many = Ngram(bits=16).estimate(_lesson(pl.concat([frame(100)] * 50)), 60, Quiet()).seconds
    assert family == Ngram(bits=16)
    assert 0 < few < many
    assert Ngram().estimate(_lesson(frame().head(0)), 60, Quiet()).seconds == 0


@pytest.mark.parametrize(
    "wrong",
    [{"min_chars": 5}, {"bits": 40}, {"cost": 0}, {"cost": math.nan}, {"folds": 1}, {"size": 3}],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        Ngram(**wrong)


# ---- Text ---------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(st.lists(ANY_TEXT, max_size=6))
def test_a_text_reads_the_same_alone_and_among_others(texts):
    alone = [lines([text]) for text in texts]
    assert lines(texts) == b"\n".join(alone)
    assert all(b"\n" not in line for line in alone)


def test_width_and_case_do_not_matter(model):
    scores = Ngram.load(model).scores(["VERY good!", "ｖｅｒｙ　ＧＯＯＤ！", "very  good!\n"])
    assert (scores == scores[0]).all()


def test_a_long_run_of_combining_marks_takes_no_quadratic_time():
    # 300,000 marks in alternating classes: an hour by insertion sort, under a second in pieces.
    assert len(lines(["̀̕" * 150_000])) >= 600_000
    assert lines(["é" * LONG]) == lines(["é"]) * LONG


# ---- Prediction -----------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(ANY_TEXT, st.sampled_from(GOOD)), max_size=8))
def test_every_row_is_a_distribution_or_nan(model, texts):
    scores = Ngram.load(model).scores(texts)
    assert scores.shape == (len(texts), 2)
    assert scores.dtype == np.float32
    for row in scores:
        assert np.isnan(row).all() or row.sum() == pytest.approx(1, abs=1e-6)


def test_a_big_batch_answers_as_one_by_one(model, monkeypatch):
    predictor = Ngram.load(model)
    texts = [f"{text}{i}" for i in range(100) for text in (*GOOD, *BAD, "", "\ud800")]
    one_by_one = np.vstack([predictor.scores([text]) for text in texts])
    for count in (1, 2, 5):
        for module in (native, predict, training):
            monkeypatch.setattr(module, "usable_cores", lambda count=count: count)
        assert np.array_equal(predictor.scores(texts), one_by_one, equal_nan=True)


def test_extreme_texts(model):
    predictor = Ngram.load(model)
    texts = ["很好" * 500_000, "\0" * 1000, "👍" * 1000, "\ud800\udfff", " \t\n", "", "ﷺ" * 5000]
    scores = predictor.scores(texts)
    assert scores[0].argmax() == 1
    assert np.isnan(scores[4]).all()
    assert np.isnan(scores[5]).all()
    assert predictor.scores([]).shape == (0, 2)


# ---- A folder that is not what fit wrote ------------------------------------------------------


def damaged(model, folder, **changed):
    shutil.copytree(model, folder)
    arrays = load_file(folder / "model.safetensors")
    for name, change in changed.items():
        arrays[name] = np.ascontiguousarray(change(arrays[name]))
    save_file(arrays, folder / "model.safetensors")
    return folder


def put(array, at, value):
    array = array.copy()
    array[at] = value
    return array


@pytest.mark.parametrize(
    "changed",
    [
        {"buckets": lambda a: put(a, -1, 2**16)},
        {"buckets": lambda a: put(a, 0, -1)},
        {"buckets": lambda a: put(a, 1, a[0])},
        {"buckets": lambda a: a[::-1]},
        {"buckets": lambda a: a[:-1]},
        {"buckets": lambda a: a.astype(np.int64)},
        {"buckets": lambda a: a.reshape(1, -1)},
        {"weights": lambda a: put(a, 0, np.nan)},
        {"weights": lambda a: np.hstack([a, a])},
        {"weights": lambda a: a[:5]},
        {"scale": lambda a: put(a, 0, np.inf)},
        {"scale": lambda a: a.reshape(-1, 1)},
        {"bias": lambda a: a[:0]},
        {"slope": lambda a: np.hstack([a, a])},
        {"shift": lambda a: np.zeros(3, dtype=np.float32)},
    ],
)
def test_hostile_tensors_are_refused(model, tmp_path, changed):
    folder = damaged(model, tmp_path / "copy", **changed)
    with pytest.raises(NotAModel):
        Ngram.load(folder)


def test_enormous_weights_still_give_a_distribution(model, tmp_path):
    huge = float(np.finfo(np.float32).max)
    folder = damaged(
        model, tmp_path / "copy",
        weights=lambda a: np.full_like(a, huge), scale=lambda a: np.full_like(a, huge),
        slope=lambda a: np.full_like(a, huge),
    )  # fmt: skip
    assert Ngram.load(folder).scores(["很好"])[0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 64),
        ("model.safetensors", None),
        ("feilun.json", b"[]"),
        ("feilun.json", b"{"),
        ("feilun.json", None),
    ],
)
def test_broken_files_are_refused(model, tmp_path, name, content):
    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(NotAModel):
        Ngram.load(folder)


@pytest.mark.parametrize(
    "changed",
    [{"labels": []}, {"labels": "ab"}, {"labels": [1, 2]}, {"labels": ["a", "b", "c"]},
     {"settings": None}, {"settings": {"bits": 60}}, {"settings": {"bits": 12}}],
)  # fmt: skip
def test_a_card_that_does_not_fit_is_refused(model, tmp_path, changed):
    folder = tmp_path / "copy"
    shutil.copytree(model, folder)
    card = json.loads((folder / "feilun.json").read_text("utf-8"))
    (folder / "feilun.json").write_text(json.dumps({**card, **changed}), encoding="utf-8")
    with pytest.raises(NotAModel):
        Ngram.load(folder)


def test_a_missing_library_says_how_to_mend_it(monkeypatch, tmp_path):
    native._library.cache_clear()
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "kernels.so")
    with pytest.raises(KernelsMissing) as caught:
        native.texts(b"a", 1)
    assert caught.value.remedy is not None
    assert "install" in caught.value.remedy
    monkeypatch.undo()
    native._library.cache_clear()
    assert native.texts(b"a", 1).num == 1
