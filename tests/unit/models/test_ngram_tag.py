"""The tagger of the n-gram family against slow references, and against abuse."""

from __future__ import annotations

import ctypes
import itertools
import math
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from feilun.models.family import LabelUnknown, NothingToLearn
from feilun.models.folder import NotAModel
from feilun.models.ngram import crf, tagging
from feilun.models.ngram.tagger import NgramTagger, write_tagger
from feilun.models.ngram.tagging import TagPlan, tagger_seconds, train_tagger
from feilun.models.ngram.units import characters, traits
from feilun.tasks.tag import BadSpans

LABELS = ("LOC", "PER")
NAMES = ["王小明", "李华", "张三丰", "赵敏", "陈大文", "Anna Lee", "Bob"]
PLACES = ["北京", "上海市", "广州", "New York", "西藏"]
FRAMES = [
    "{n}昨天去了{p}。",
    "我在{p}见到了{n}，很高兴",
    "{p}的{n}说：好",
    "people like {n} live in {p} now",
]
ANY_TEXT = st.text(st.characters(), max_size=40) | st.text(
    "王小明北京 aB1\n\0\ud800é👍", max_size=40
)


def silent(_done, _total):
    """Hears nothing."""


def examples(frames=FRAMES, names=NAMES, places=PLACES):
    """Every name and place in every frame, with its spans."""
    texts, spans = [], []
    for frame, name, place in itertools.product(frames, names, places):
        text = frame.format(n=name, p=place)
        found = [(text.index(name), name, "PER"), (text.index(place), place, "LOC")]
        texts.append(text)
        spans.append(sorted((at, at + len(what), label) for at, what, label in found))
    return texts, spans


def model_in(folder: Path, trained) -> NgramTagger:
    folder.mkdir(exist_ok=True, parents=True)
    write_tagger(trained, folder)
    return NgramTagger.load(folder, trained.labels)


@pytest.fixture(scope="module")
def trained():
    return train_tagger(*examples(), LABELS, TagPlan(seed=3), silent)


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger")
    write_tagger(trained, folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return NgramTagger.load(folder, LABELS)


# ---- The chain against all its ways ----------------------------------------------------------


def allowed(before, after):
    """Whether one tag may follow another, from the meaning of the tags."""
    ends = before == 0 or (before - 1) % 4 in (crf.END, crf.SINGLE)
    starts = after == 0 or (after - 1) % 4 in (crf.BEGIN, crf.SINGLE)
    same = before and after and (before - 1) // 4 == (after - 1) // 4
    return starts if ends else bool(same and (after - 1) % 4 in (crf.INSIDE, crf.END))


def ways(num_units, num_labels):
    """Every sequence of tags that a text of so many units may have."""
    tags = range(1 + 4 * num_labels)
    for way in itertools.product(tags, repeat=num_units):
        first, last = way[0], way[-1]
        if (first and (first - 1) % 4 not in (crf.BEGIN, crf.SINGLE)) or (
            last and (last - 1) % 4 not in (crf.END, crf.SINGLE)
        ):
            continue
        if all(allowed(a, b) for a, b in itertools.pairwise(way)):
            yield way


def spans_of(way):
    found, start = [], 0
    for at, tag in enumerate(way):
        role = (tag - 1) % 4 if tag else -1
        if role in (crf.BEGIN, crf.SINGLE):
            start = at
        if role in (crf.END, crf.SINGLE):
            found.append((start, at + 1, (tag - 1) // 4))
    return found


def wild(text, num_labels, seed, spread=3.0):
    """A model with a random weight for every feature of the text, and the parts of it."""
    random = np.random.default_rng(seed)
    chars, chain = characters([text]), crf.Chain(num_labels)
    plain = crf.Reader(grouped=False)
    keys = np.unique(crf.keys(plain, chars, 0, 1, crf.count(plain, chars, 16), 1))
    reader = crf.Reader(grouped=False, keys=keys)
    weights = np.zeros((len(keys), chain.stride), np.int16)
    weights[:, : chain.num_tags] = random.integers(-1000, 1000, (len(keys), chain.num_tags))
    links = random.normal(0, 2, chain.num_links).astype(np.float32)
    return chars, chain, reader, weights, links, spread / 1000 / math.sqrt(20)


def slow_scores(chars, chain, reader, weights, scale, text):
    """The score of each tag of each unit: from the loss of one-unit... read through `keys`."""
    rows = []
    plain = crf.Reader(grouped=False)
    place = {key: i for i, key in enumerate(reader.features.tolist())}
    every = crf.keys(plain, chars, 0, 1, crf.count(plain, chars, 16), 1).tolist()
    per_unit = len(every) // len(text)
    for at in range(len(text)):
        own = every[at * per_unit : (at + 1) * per_unit]
        total = sum(weights[place[key]].astype(np.int64) for key in own)
        rows.append(total[: chain.num_tags] * scale)
    return np.array(rows)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("text", "num_labels"), [("北京人", 2), ("北a京人", 1), ("中", 2)])
def test_answers_are_those_of_a_search_through_every_way(text, num_labels, seed):
    chars, chain, reader, weights, links, scale = wild(text, num_labels, seed)
    scores = slow_scores(chars, chain, reader, weights, scale, text)
    number = {
        (a, b): k
        for k, (b, a) in enumerate(
            (b, a) for b in range(chain.num_tags) for a in range(chain.num_tags) if allowed(a, b)
        )
    }
    assert len(number) == chain.num_links
    weighed = [
        (
            sum(scores[t, tag] for t, tag in enumerate(way))
            + sum(links[number[pair]] for pair in itertools.pairwise(way)),
            way,
        )
        for way in ways(len(text), num_labels)
    ]
    best = max(weighed)[1]
    total = sum(math.exp(score) for score, _way in weighed)
    known = np.zeros(1, np.uint8)
    found = crf.find(reader, chain, crf.Model(weights, links, scale), chars, 0, 1, known)
    assert known[0] == 1
    assert [(e["start"], e["end"], e["label"]) for e in found] == spans_of(best)
    for entity in found:
        span = (entity["start"], entity["end"], entity["label"])
        inside = sum(math.exp(s) for s, way in weighed if span in spans_of(way))
        assert entity["score"] == pytest.approx(inside / total, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_loss_is_that_of_a_sum_over_every_way(seed):
    text = "北京人"
    chars, chain, reader, weights, links, scale = wild(text, 1, seed)
    real = weights.astype(np.float32) * np.float32(scale)
    scores = slow_scores(chars, chain, reader, weights, scale, text)
    pairs = [(a, b) for b in range(5) for a in range(5) if allowed(a, b)]
    number = {pair: k for k, pair in enumerate(pairs)}

    def score(way):
        return sum(scores[t, tag] for t, tag in enumerate(way)) + sum(
            links[number[pair]] for pair in itertools.pairwise(way)
        )

    for truth in ways(3, 1):
        lesson = crf.Lesson(chars, np.array([0, 3]), np.array(truth, np.int16))
        learner = crf.Learner(real, real, links, links, 0.1, 0.02)
        found = crf.loss(reader, chain, learner, lesson, np.zeros(1, np.int32))
        wanted = math.log(sum(math.exp(score(way)) for way in ways(3, 1))) - score(truth)
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_a_step_goes_along_the_gradient_of_the_loss():
    text = "北京人"
    chars, chain, reader, weights, links, scale = wild(text, 1, 5, spread=0.5)
    real = weights.astype(np.float32) * np.float32(scale)
    lesson = crf.Lesson(chars, np.array([0, 3]), np.array([1, 3, 0], np.int16))
    order = np.zeros(1, np.int32)

    def loss(weights, links):
        learner = crf.Learner(weights, weights, links, links, 0.1, 0.0)
        return crf.loss(reader, chain, learner, lesson, order)

    # With huge sums of squares AdaGrad is plain descent: the step is the gradient, scaled.
    large, rate = 1e8, 1.0
    moved, moved_links = real.copy(), links.copy()
    learner = crf.Learner(
        moved, np.full_like(real, large), moved_links, np.full_like(links, large), rate, 0.0
    )
    crf.learn(reader, chain, learner, lesson, order)
    random = np.random.default_rng(1)
    for row in random.choice(len(real), 8, replace=False):
        for tag in range(chain.num_tags):
            up, down = real.copy(), real.copy()
            up[row, tag] += 0.01
            down[row, tag] -= 0.01
            slope = (loss(up, links) - loss(down, links)) / 0.02
            step = (float(real[row, tag]) - float(moved[row, tag])) * math.sqrt(large)
            assert step == pytest.approx(slope, abs=0.01)
    for k in range(chain.num_links):
        up, down = links.copy(), links.copy()
        up[k] += 0.01
        down[k] -= 0.01
        slope = (loss(real, up) - loss(real, down)) / 0.02
        step = (float(links[k]) - float(moved_links[k])) * math.sqrt(large)
        assert step == pytest.approx(slope, abs=0.01)


# ---- Units -----------------------------------------------------------------------------------


def test_units_are_characters_or_runs_and_never_white_space():
    chars = characters(["Hi 1998年，OK\u3000好", " \n", ""])
    single = crf.units(crf.Reader(grouped=False), chars)
    assert single.sizes.tolist() == [11, 0, 0]
    runs = crf.units(crf.Reader(grouped=True), chars)
    assert runs.sizes.tolist() == [6, 0, 0]
    assert list(zip(runs.begins.tolist(), runs.ends.tolist(), strict=True)) == [
        (0, 2), (3, 7), (7, 8), (8, 9), (9, 11), (12, 13),
    ]  # fmt: skip


def test_white_space_is_told_from_none_and_an_n_gram_from_another():
    def keys(text):
        chars, reader = characters([text]), crf.Reader(grouped=False)
        return set(crf.keys(reader, chars, 0, 1, crf.count(reader, chars, 16), 1).tolist())

    assert keys("王小") != keys("王 小") == keys("王\n小")
    # All but the first three keys of a unit see what is around: no key is shared by accident.
    assert len(keys("王小明去北京")) > 6 * 20


def test_keys_are_counted_and_rare_ones_left_out():
    chars, reader = characters(["王小明", "王小明", "李"]), crf.Reader(grouped=False)
    once, twice = (set(tagging.frequent(reader, chars, least).tolist()) for least in (1, 2))
    only = set(tagging.frequent(reader, characters(["王小明"]), 1).tolist())
    assert only <= twice < once
    assert crf.count(reader, characters(["王"] * 300), 16).max() == 255


def test_wide_letters_and_capitals_are_read_as_plain_ones():
    found = traits()
    assert found[ord("Ａ")] == found[ord("A")]
    assert found[ord("A")] & 0xFFFF == ord("a")
    assert found[ord("A")] != found[ord("a")]
    assert found[ord("１")] & 0xFFFF == ord("1")


# ---- Training --------------------------------------------------------------------------------


def test_it_finds_names_it_never_saw(model):
    (found,) = model.entities(["周杰昨天去了西藏。"])
    assert [(e.start, e.end, e.label) for e in found] == [(0, 2, "PER"), (6, 8, "LOC")]
    assert all(0.3 < e.score <= 1 for e in found)


def test_what_it_learnt_it_says_again(model):
    texts, spans = examples()
    answers = [[e[:3] for e in found] for found in model.entities(texts)]
    assert np.mean([a == b for a, b in zip(answers, spans, strict=True)]) > 0.95


def test_the_same_lesson_gives_the_same_bytes_and_another_seed_others(tmp_path):
    files = []
    for number, seed in enumerate((1, 1, 2)):
        where = tmp_path / str(number)
        model_in(where, train_tagger(*examples(), LABELS, TagPlan(seed=seed), silent))
        files.append((where / "model.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_units_are_words_unless_the_entities_cut_them(trained):
    assert trained.units == "words"
    texts = ["Anna로 간다", "Bob로 간다", "Seoul에서", "abc로"]
    spans = [[(0, 2, "PER")], [(0, 3, "PER")], [(0, 3, "LOC")], []]
    cut = train_tagger(texts, spans, LABELS, TagPlan(min_count=1), silent)
    assert cut.units == "characters"


def test_a_span_within_a_word_grows_to_it_when_units_are_words(tmp_path):
    texts, spans = ["the Annas sing"] * 4, [[(4, 8, "PER")]] * 4
    model = model_in(tmp_path, train_tagger(texts, spans, LABELS, TagPlan(units="words"), silent))
    assert [e[:3] for e in model.entities(texts[:1])[0]] == [(4, 9, "PER")]


def test_it_stops_when_what_was_held_out_gets_no_better():
    texts, spans = examples()
    heard = []
    wrong = (texts, [[] for _text in texts])  # what it learns makes this worse at once
    trained = train_tagger(
        texts, spans, LABELS, TagPlan(), lambda done, total: heard.append((done, total)), wrong
    )
    assert trained.epochs == 1 + tagging.PATIENCE == len(heard)
    assert heard[-1] == (trained.epochs, TagPlan().max_epochs)
    assert trained.loss > 0.1


def test_a_part_is_held_out_of_many_texts(monkeypatch):
    monkeypatch.setattr(tagging, "FEW_PIECES", 100)
    trained = train_tagger(*examples(), LABELS, TagPlan(), silent)
    assert 0 < trained.loss < 0.1


def test_without_anything_held_out_all_passes_are_made(trained):
    assert trained.epochs == TagPlan().max_epochs
    assert math.isnan(trained.loss)


def test_a_long_text_is_cut_between_entities(tmp_path):
    texts, spans = examples(FRAMES[:1], NAMES[:5], PLACES[:3])
    offsets = np.cumsum([0, *map(len, texts)])
    joined = [
        (start + at, end + at, label)
        for at, row in zip(offsets.tolist(), spans, strict=False)
        for start, end, label in row
    ]
    text = "".join(texts) * 1
    pieces = tagging._pieces([text * 5], [
        [(s + k * len(text), e + k * len(text), w) for k in range(5) for s, e, w in joined]
    ], LABELS)  # fmt: skip
    assert len(pieces.texts) > 2
    assert "".join(pieces.texts) == text * 5
    assert sum(map(len, pieces.spans)) == 5 * len(joined)
    for piece, row in zip(pieces.texts, pieces.spans, strict=True):
        assert all(piece[s:e] in (*NAMES, *PLACES) for s, e, _label in row)
    long = train_tagger(["王" * 1000], [[(0, 999, "PER")]], LABELS, TagPlan(), silent)
    assert long.num_features


@pytest.mark.parametrize(
    ("spans", "error"),
    [
        ([(0, 9, "PER")], BadSpans),
        ([(-1, 2, "PER")], BadSpans),
        ([(2, 2, "PER")], BadSpans),
        ([(0, 2, "PER"), (1, 3, "LOC")], BadSpans),
        ([(0, 2, "ORG")], LabelUnknown),
    ],
)
def test_spans_that_cannot_be_learnt_are_refused(spans, error):
    with pytest.raises(error):
        train_tagger(["王小明"], [spans], LABELS, TagPlan(), silent)


@pytest.mark.parametrize("texts", [[], [""], [" \n", "\u3000"]])
def test_nothing_to_learn_is_said(texts):
    with pytest.raises(NothingToLearn):
        train_tagger(texts, [[]] * len(texts), LABELS, TagPlan(), silent)


def test_white_space_around_a_span_and_a_span_of_white_space_are_no_part_of_it(tmp_path):
    texts, spans = ["见 王小明 了  "] * 3, [[(1, 6, "PER"), (7, 9, "LOC")]] * 3
    model = model_in(tmp_path, train_tagger(texts, spans, LABELS, TagPlan(), silent))
    assert [e[:3] for e in model.entities(texts[:1])[0]] == [(2, 5, "PER")]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ANY_TEXT, st.integers(0, 30), st.integers(1, 9)), min_size=1, max_size=6))
def test_any_text_can_be_learnt_from(rows):
    texts = [text + "好" for text, _start, _size in rows]
    spans = [
        [(start, min(start + size, len(text)), "PER")] if start < len(text) else []
        for text, (_text, start, size) in zip(texts, rows, strict=True)
    ]
    for units in ("characters", "words"):
        trained = train_tagger(
            texts, spans, LABELS, TagPlan(units=units, min_count=1, max_epochs=2), silent
        )
        assert np.isfinite(trained.links).all()
        assert 0 < trained.scale < 1


def test_the_estimate_is_of_the_right_order():
    texts, spans = examples()
    assert tagger_seconds([], [], LABELS, TagPlan()) == 0
    few = tagger_seconds(texts, spans, LABELS, TagPlan(max_epochs=2))
    assert 0 < few < 10
    assert tagger_seconds(texts * 100, spans * 100, LABELS, TagPlan(max_epochs=2)) > few


# ---- Answers ---------------------------------------------------------------------------------


def test_nothing_known_is_no_answer(model):
    assert model.entities([]) == []
    assert model.entities(["", " \n", "ΩЖж", "昨天"]) == [None, None, None, []]


@settings(max_examples=150, deadline=None)
@given(st.lists(ANY_TEXT, max_size=5))
def test_any_text_gets_entities_within_it_one_after_another(model, texts):
    answers = model.entities(texts)
    assert len(answers) == len(texts)
    for text, found in zip(texts, answers, strict=True):
        end = 0
        for entity in found or []:
            assert end <= entity.start < entity.end <= len(text)
            assert entity.label in LABELS
            assert 0 <= entity.score <= 1
            end = entity.end
    assert answers == [model.entities([text])[0] for text in texts]


def test_a_text_of_any_length_is_answered(model):
    text = "王小明昨天去了北京。" * 20_000
    (found,) = model.entities([text])
    assert len(found) == 40_000
    middle = [(e.start % 10, e.label) for e in found[1000:1004]]
    assert middle == [(0, "PER"), (7, "LOC")] * 2
    assert all(0 < e.score <= 1 for e in found)


def test_many_threads_share_a_model(model):
    texts = examples()[0] * 30
    alone = model.entities(texts)
    got = [None] * 4

    def work(number):
        got[number] = model.entities(texts)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(answer == alone for answer in got)
    assert alone == [model.entities([text])[0] for text in texts]


# ---- A file from somewhere -------------------------------------------------------------------


def changed(folder: Path, to: Path, name, change):
    arrays = load_file(folder / "model.safetensors")
    arrays[name] = np.ascontiguousarray(change(arrays[name]))
    save_file(arrays, to / "model.safetensors")
    return to


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("keys", lambda a: a.astype(np.int64)),
        ("keys", lambda a: a[:-1]),
        ("keys", lambda a: np.append(a[:-1], a[0])),
        ("keys", lambda a: np.arange(len(a), dtype=np.uint32)),
        ("keys", lambda a: a[None]),
        ("weights", lambda a: a[:, :-1]),
        ("weights", lambda a: a.astype(np.float32)),
        ("links", lambda a: a[:-1]),
        ("links", lambda a: a * np.float32("nan")),
        ("links", lambda a: a + np.float32(1e5)),
        ("scale", lambda a: a * 0),
        ("scale", lambda a: a * -1),
        ("scale", lambda a: a * np.float32("inf")),
        ("scale", lambda a: a + np.float32(1e9)),
        ("scale", lambda a: a[:0]),
        ("grouped", lambda a: a.astype(np.uint8)),
        ("grouped", lambda a: a[:0]),
    ],
)
def test_a_file_that_does_not_fit_is_refused(folder, tmp_path, name, change):
    with pytest.raises(NotAModel):
        NgramTagger.load(changed(folder, tmp_path, name, change), LABELS)


def test_a_folder_without_a_file_or_with_other_labels_is_refused(folder, tmp_path):
    with pytest.raises(NotAModel):
        NgramTagger.load(tmp_path, LABELS)
    with pytest.raises(NotAModel):
        NgramTagger.load(folder, ("LOC",))
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(NotAModel):
        NgramTagger.load(tmp_path, LABELS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_weights_that_are_let_in_give_entities_within_the_text(folder, tmp_path_factory, seed):
    random = np.random.default_rng(seed)
    arrays = load_file(folder / "model.safetensors")
    arrays["weights"] = random.integers(-32768, 32768, arrays["weights"].shape).astype(np.int16)
    arrays["links"] = random.choice([-20, 20, 0], arrays["links"].shape).astype(np.float32)
    arrays["scale"] = np.array([random.choice([0.3, 1e-3, 1e-30])], np.float32)
    to = tmp_path_factory.mktemp("wild")
    save_file(arrays, to / "model.safetensors")
    model = NgramTagger.load(to, LABELS)
    texts = examples()[0][:20]
    for text, found in zip(texts, model.entities(texts), strict=True):
        end = 0
        for entity in found:
            assert end <= entity.start < entity.end <= len(text)
            assert 0 <= entity.score <= 1
            end = entity.end


def test_an_empty_model_knows_nothing(tmp_path):
    chain = crf.Chain(2)
    save_file(
        {
            "keys": np.empty(0, np.uint32),
            "weights": np.empty((0, chain.num_tags), np.int16),
            "links": np.zeros(chain.num_links, np.float32),
            "scale": np.array([1e-4], np.float32),
            "grouped": np.array([True]),
        },
        tmp_path / "model.safetensors",
    )
    assert NgramTagger.load(tmp_path, LABELS).entities(["王小明"]) == [None]


def test_the_structures_are_those_of_the_kernel():
    assert ctypes.sizeof(crf._Shape) == 32
    assert crf._FOUND.itemsize == 32
