"""Label errors: planted ones are found, honest labels stay, the order does not count."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.part import find
from feilun.stages.prepare.corpus import Corpus
from feilun.stages.prepare.label_errors import SUSPECTS, LabelErrors
from feilun.stages.prepare.label_errors import step as module
from feilun.stages.prepare.label_errors.confident import (
    Doubts,
    doubted,
    first_by_doubt,
    joint,
    pruned,
    thresholds,
)
from tests.unit.stages.scratch import Row, raw, scratch

TOPICS = {
    "物流": ("快递", "送货", "包裹", "路上", "发货", "签收"),
    "房间": ("床单", "窗户", "空调", "浴室", "隔音", "枕头"),
    "early": ("breakfast", "coffee", "bread", "eggs", "juice", "buffet"),
}
FILLING = "的了很也都还就是这那我们一个有点说在今天昨天觉得"


def reviews(num: int = 360, wrong: int = 18, seed: int = 5) -> tuple[list[Row], set[str]]:
    """Short texts on three topics with the topic as label, and the texts whose label is not
    their topic."""
    draw = random.Random(seed)
    labels, rows, flipped = sorted(TOPICS), [], set[str]()
    for number in range(num):
        label = labels[number % len(labels)]
        words = draw.sample(TOPICS[label], 3)
        text = "".join(word + "".join(draw.choices(FILLING, k=3)) for word in words) + str(number)
        if number < wrong:
            flipped.add(text)
            label = labels[(number + 1) % len(labels)]
        rows.append((text, label))
    draw.shuffle(rows)
    return rows, flipped


def corpus(frame: pl.DataFrame, sizes: tuple[int, ...] = ()) -> Corpus:
    """The corpus of `frame`, in shards of `sizes` rows."""
    whole = Corpus.of(frame, LabelErrors())

    def shards() -> Iterator[pl.DataFrame]:
        at = 0
        for size in (*sizes, frame.height):
            yield frame.with_row_index("at").slice(at, size)
            at += size

    return Corpus(whole.known, shards, whole.near_duplicates)


def texts_of(frame: pl.DataFrame, suspects: pl.DataFrame) -> list[str]:
    return frame["text"].gather(suspects["at"]).to_list()


def test_it_is_the_part_of_that_name() -> None:
    assert find("step", "label_errors") is LabelErrors


def test_planted_errors_are_found_and_named() -> None:
    rows, flipped = reviews()
    frame = raw(rows)
    found = LabelErrors().found(corpus(frame), seed=7)
    assert set(texts_of(frame, found.suspects)) == flipped
    assert sum(found.judged.values()) == len(rows)
    meant = {word: topic for topic, words in TOPICS.items() for word in words}
    for text, suggested in zip(
        texts_of(frame, found.suspects), found.suspects["suggested"], strict=True
    ):
        assert suggested == next(topic for word, topic in meant.items() if word in text)
    assert (found.suspects["confidence"] > found.suspects["own"]).all()
    assert found.suspects["doubt"].is_sorted(descending=True)


@pytest.mark.parametrize("prune", ["confident", "noise_rate", "class", "both"])
def test_every_way_of_pruning_finds_them(prune: str) -> None:
    rows, flipped = reviews()
    frame = raw(rows)
    found = LabelErrors.model_validate({"prune": prune}).found(corpus(frame), seed=7)
    suspects = set(texts_of(frame, found.suspects))
    assert len(suspects & flipped) >= 0.8 * len(flipped)
    assert len(suspects - flipped) <= 0.2 * len(flipped)


def test_nothing_is_dropped_unless_told(tmp_path: Path) -> None:
    rows, _flipped = reviews()
    run = scratch(tmp_path)
    kept = LabelErrors().apply(raw(rows), run)
    assert kept.height == len(rows)
    assert run.dropped().is_empty()


def test_dropping_names_reason_and_suggestion(tmp_path: Path) -> None:
    rows, flipped = reviews()
    run = scratch(tmp_path)
    step = LabelErrors(action="drop", most_share=0.5)
    decided = step.decide(corpus(raw(rows)), run)
    assert set(decided["reason"]) == {"label_error"}
    details = [json.loads(detail) for detail in decided["detail"]]
    assert all(0 < detail["confidence"] <= 1 for detail in details)
    assert {detail["suggested"] for detail in details} == set(TOPICS)
    kept = step.apply(raw(rows), run)
    assert set(kept["text"]) == {text for text, _label in rows} - flipped
    assert set(run.dropped()["reason"]) == {"label_error"}


def test_no_label_loses_more_than_its_share(tmp_path: Path) -> None:
    rows, flipped = reviews(wrong=60)
    frame = raw(rows)
    step = LabelErrors(action="drop", most_share=0.02)
    decided = step.decide(corpus(frame), scratch(tmp_path))
    lost = frame[decided["at"].to_list()]["label"].value_counts()
    totals = dict(frame["label"].value_counts().rows())
    assert lost.height > 0
    assert all(count <= 0.02 * totals[label] for label, count in lost.rows())
    assert set(frame[decided["at"].to_list()]["text"]) <= flipped, "the most doubtful go"


def test_suspects_are_told_in_a_file(tmp_path: Path) -> None:
    rows, flipped = reviews()
    long = [(f"{text}{'长' * 400}", label) for text, label in rows]
    run = scratch(tmp_path)
    LabelErrors().decide(corpus(raw(long)), run)
    told = json.loads((run.folder / SUSPECTS).read_text("utf-8"))
    assert (told["judged"], told["suspects"], told["dropped"]) == (len(rows), len(flipped), 0)
    assert sum(label["suspects"] for label in told["labels"].values()) == len(flipped)
    assert sum(pair["count"] for pair in told["pairs"]) == len(flipped)
    assert len(told["first"]) == len(flipped)
    first = told["first"][0]
    assert set(first) == {
        "id", "label", "suggested", "confidence", "own", "source", "row", "text",
    }  # fmt: skip
    assert all(len(one["text"]) == 200 and one["text"].endswith("…") for one in told["first"])
    assert rows[first["row"]][1] == first["label"], "row names the record"


def test_the_order_of_records_and_shards_does_not_count() -> None:
    rows, _flipped = reviews()
    one = raw(rows)
    two = one.sample(fraction=1.0, shuffle=True, seed=3)
    step = LabelErrors()
    first = step.found(corpus(one), seed=7)
    second = step.found(corpus(two, sizes=(7, 100, 0)), seed=7)
    assert texts_of(one, first.suspects) == texts_of(two, second.suspects)
    shown = ["label", "suggested", "confidence", "own", "doubt", "drop"]
    assert first.suspects.select(shown).equals(second.suspects.select(shown))


def test_a_sample_teaches_and_all_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, flipped = reviews(num=720)
    frame = raw(rows)
    monkeypatch.setattr(module, "MOST_CHARS", 6000)
    monkeypatch.setattr(module, "PIECE", 1000)
    taught: list[int] = []
    models = LabelErrors._models

    def count(self: LabelErrors, frame: pl.DataFrame, *more: Any) -> Any:
        taught.append(frame.height)
        return models(self, frame, *more)

    monkeypatch.setattr(LabelErrors, "_models", count)
    found = LabelErrors().found(corpus(frame), seed=7)
    assert 100 < taught[0] < 400, "6,000 characters"
    assert sum(found.judged.values()) == len(rows)
    suspects = set(texts_of(frame, found.suspects))
    assert len(suspects & flipped) >= 15
    assert len(suspects - flipped) <= 5


def test_twins_are_judged_by_models_that_saw_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, flipped = reviews()
    # Ten copies of each wrong record: in another fold they would vouch for each other.
    many = rows + [(f"{text}{'！' * n}", label) for text, label in rows if text in flipped
                   for n in range(1, 10)]  # fmt: skip
    frame = raw(many)
    folds = module._folded(corpus(frame).known, 5, seed=7)
    assert folds.group_by("key").agg(pl.col("fold").n_unique())["fold"].max() == 1
    found = LabelErrors().found(corpus(frame), seed=7)
    assert set(texts_of(frame, found.suspects)) >= flipped


def test_what_cannot_be_judged_is_left_alone(tmp_path: Path) -> None:
    rows, flipped = reviews()
    odd: list[Row] = [
        ("unlabelled 快递", None), (None, "物流"), ("", "物流"),
        *[(f"rare {number}", "seldom") for number in range(4)],
    ]  # fmt: skip
    frame = raw([*rows, *odd])
    found = LabelErrors().found(corpus(frame), seed=7)
    assert "seldom" not in found.judged
    assert sum(found.judged.values()) == len(rows)
    assert set(texts_of(frame, found.suspects)) == flipped


@pytest.mark.parametrize(
    "rows",
    [[], [("a", "x")], [(f"text {n}", "x") for n in range(50)], [(None, "x")] * 50,
     [(f"text {n}", None) for n in range(50)]],
)  # fmt: skip
def test_too_little_to_judge_is_no_error(rows: list[Row], tmp_path: Path) -> None:
    run = scratch(tmp_path)
    kept = LabelErrors(action="drop").apply(raw(rows), run)
    assert kept.height == len(rows)
    assert json.loads((run.folder / SUSPECTS).read_text("utf-8"))["suspects"] == 0


def test_thresholds_are_the_mean_own_probability() -> None:
    chances = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    assert thresholds(chances, np.array([0, 0, 1])).tolist() == pytest.approx([0.7, 0.8])


def test_the_confident_joint_is_that_of_the_paper() -> None:
    # By hand, after algorithm 1: thresholds .7 and .8; the fourth is confidently of class 0.
    chances = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.75, 0.25], [0.1, 0.9]])
    labels, least = np.array([0, 0, 1, 1, 0]), np.array([0.7, 0.8])
    doubts, counts = doubted(chances, labels, least)
    assert counts.tolist() == [[1, 1], [1, 1]]
    assert doubts.row.tolist() == [3, 4]
    assert doubts.confident.tolist() == [True, True]
    assert doubts.suggested.tolist() == [0, 1]
    expected = joint(counts, np.bincount(labels))
    assert expected.tolist() == [[1.5, 1.5], [1, 1]]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pruning_keeps_its_promises(data: st.DataObject) -> None:
    num_classes = data.draw(st.integers(2, 4))
    num = data.draw(st.integers(num_classes, 40))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    chances = draw.dirichlet(np.ones(num_classes), size=num)
    labels = np.concatenate([np.arange(num_classes), draw.integers(0, num_classes, num)])[:num]
    doubts, counts = doubted(chances, labels, thresholds(chances, labels))
    totals = np.bincount(labels, minlength=num_classes)
    expected = joint(counts, totals)
    assert ((expected.sum(axis=1) == pytest.approx(totals)) | (counts.sum(axis=1) == 0)).all()
    masks = {prune: pruned(doubts, expected, prune) for prune in ("noise_rate", "class", "both")}
    assert (masks["both"] == (masks["noise_rate"] & masks["class"])).all()
    assert (chances[doubts.row].argmax(axis=1) != doubts.given).all()
    most = draw.integers(0, 4, num_classes)
    gone = first_by_doubt(doubts, doubts.confident, most)
    assert (np.bincount(doubts.given[gone], minlength=num_classes) <= most).all()
    assert not (gone & ~doubts.confident).any()


def test_equals_stay_together_at_the_limit() -> None:
    given = np.zeros(5, dtype=np.int32)
    doubt = np.array([0.9, 0.5, 0.5, 0.5, 0.1], dtype=np.float32)
    half = np.full(5, 0.5, dtype=np.float32)
    doubts = Doubts(np.arange(5), given, given + 1, half, half, doubt, np.ones(5, dtype=bool))
    assert first_by_doubt(doubts, doubts.confident, np.array([3, 0])).tolist() == [
        True, False, False, False, False,
    ]  # fmt: skip
    assert first_by_doubt(doubts, doubts.confident, np.array([4, 0])).sum() == 4


@pytest.mark.parametrize(
    "settings_", [{"folds": 1}, {"rounds": 0}, {"most": 10}, {"most_share": 0}, {"action": "fix"}]
)
def test_settings_out_of_range_are_refused(settings_: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings_))):
        LabelErrors.model_validate(settings_)
