"""Augment: what is added, of whom, always the same; what has lost its label is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feilun.core.records import SCHEMA, conform
from feilun.models.family import Lesson
from feilun.models.ngram import Ngram
from feilun.stages.prepare.augment import Augment, check
from feilun.stages.prepare.augment.check import Survey
from feilun.stages.prepare.twins import twin_key
from feilun.wheel.runner import LocalRun
from tests.conftest import sentences
from tests.unit.stages.scratch import raw, scratch

ROWS = [(text, label) for text, label in dict(sentences(400, seed=3)).items()]


def free(**more: object) -> Augment:
    """A step with several of the methods that cost nothing."""
    methods = {"methods": ["synonyms", "homophones", "delete", "swap"]}
    return Augment.model_validate(methods | more)


def reviews() -> pl.DataFrame:
    return raw(list(ROWS))


def keys(frame: pl.DataFrame) -> list[str]:
    return frame.select(twin_key(pl.col("text"))).to_series().to_list()


def children(
    step: Augment, frame: pl.DataFrame, folder: Path, seed: int = 0
) -> tuple[pl.DataFrame, LocalRun]:
    run = scratch(folder, seed=seed)
    grown = step.apply(frame, run)
    assert grown.head(frame.height).equals(frame), "what was there stays as it was"
    return grown.slice(frame.height), run


def test_a_new_record_says_what_it_was_made_of_and_how(tmp_path: Path) -> None:
    frame = reviews().with_columns(
        pl.lit("user-7").alias("group"),
        pl.lit(datetime(2026, 1, 2, tzinfo=UTC)).cast(SCHEMA["time"]).alias("time"),
        pl.lit('{"星":5,"parent":"old"}').alias("fields"),
    )
    frame = conform(frame.drop("id"))
    made, _run = children(free(), frame, tmp_path)
    parents = {row["id"]: row for row in frame.to_dicts()}
    assert made.height > 100
    assert made.schema == SCHEMA
    assert made["id"].is_unique().all()
    assert set(made["id"]).isdisjoint(parents)
    assert made["id"].to_list() == conform(made.drop("id"))["id"].to_list()
    for row in made.to_dicts():
        fields = json.loads(row["fields"])
        parent = parents[fields["parent"]]
        assert fields == {"星": 5, "parent": parent["id"], "method": row["source"][8:]}
        assert row["source"].startswith("augment:")
        for name in ("label", "row", "group", "time"):
            assert row[name] == parent[name]
        assert row["text"] != parent["text"]
    assert len(set(made["source"])) == 4, "all methods are used"


def test_no_text_is_made_twice_nor_one_that_is_there(tmp_path: Path) -> None:
    # Many texts that differ in one character: what is made of one may well be another.
    rows = [(f"房间{a}{b}的早餐", "甲" if a < b else "乙") for a in "大小好坏" for b in "新旧美丑"]
    frame = raw(rows)
    made, _run = children(
        Augment(share=5, check=False, methods=("delete", "swap")), frame, tmp_path
    )
    found = keys(made)
    assert len(found) == len(set(found))
    assert set(found).isdisjoint(keys(frame))
    assert made.height > 20


def test_the_same_seed_gives_the_same_in_whatever_shards_and_order(tmp_path: Path) -> None:
    frame = reviews()
    step = free(share=1.5)
    run = scratch(tmp_path)
    step.survey(lambda: iter([frame]), run)
    whole = step.apply(frame, run).slice(frame.height)
    backwards = [frame.slice(at, 37).reverse() for at in range(0, frame.height, 37)][::-1]
    other = scratch(tmp_path)
    step.survey(lambda: iter(backwards), other)
    parts = [
        step.apply(shard, other.within(str(n))).slice(shard.height)
        for n, shard in enumerate(backwards)
    ]
    pieces = pl.concat(parts)
    # Twins from two shards: of each the one whose parent has the smallest id.
    pieces = pieces.with_columns(
        twin_key(pl.col("text")).alias("key"),
        pl.col("fields").str.json_path_match("$.parent").alias("parent"),
    ).sort("parent", maintain_order=True)
    kept = pieces.filter(pl.col("key").is_first_distinct())
    assert sorted(kept["id"]) == sorted(whole["id"])
    again = scratch(tmp_path)
    assert step.apply(frame, again).slice(frame.height).equals(whole)
    seeded, _run = children(step, frame, tmp_path, seed=1)
    assert set(seeded["text"]) != set(whole["text"])


@pytest.mark.parametrize(("share", "least", "most"), [(0.25, 0.17, 0.33), (1, 0.9, 1), (3, 2.6, 3)])
def test_the_share_is_that_asked_for(
    share: float, least: float, most: float, tmp_path: Path
) -> None:
    made, _run = children(free(share=share), reviews(), tmp_path)
    assert least <= made.height / len(ROWS) <= most


def test_rare_labels_are_filled_up_to_the_minimum(tmp_path: Path) -> None:
    rare = [(text, "稀有") for text, _label in sentences(40, seed=11)]
    frame = raw([*ROWS, *dict(rare).items()])
    counts = dict(frame["label"].value_counts().iter_rows())
    step = free(share=20, minimum_label=2 * counts["稀有"], check=False)
    made, _run = children(step, frame, tmp_path)
    assert set(made["label"]) == {"稀有"}
    assert 0.8 * counts["稀有"] <= made.height <= counts["稀有"]


def test_who_has_children(tmp_path: Path) -> None:
    entity = [{"start": 0, "end": 2, "label": "LOC"}]
    turns = [{"start": 0, "end": 4, "label": "user"}, {"start": 5, "end": 9, "label": "assistant"}]
    text = "北京的酒店都很好，早餐也很丰富"
    rows = [
        {"text": f"{text}啊", "label": "好"},
        {"text": f"{text}吧", "label": None},
        {"text": f"{text}呢", "label": None, "spans": entity},
        {"text": "早餐几点\n七点开始", "label": None, "spans": turns},
        {"text": "晚餐几点\n六点开始", "label": "问餐", "spans": turns},
        {"text": None, "label": "好", "fields": '{"a":1}'},
        {"text": f"{text}哦", "label": "好", "source": "augment:swap"},
        {"text": "一", "label": "好"},
        {"text": "", "label": "好"},
    ]
    frame = conform(pl.DataFrame(rows, schema={n: SCHEMA[n] for n in SCHEMA if n != "id"}))
    made, _run = children(free(share=3), frame, tmp_path)
    parents = {json.loads(fields)["parent"] for fields in made["fields"]}
    assert [row in parents for row in frame["id"]] == [
        True, False, True, False, True, False, False, False, False,
    ]  # fmt: skip
    for text, label, spans in made.select("text", "label", "spans").iter_rows():
        covered = [text[s["start"] : s["end"]] for s in spans or []]
        if label is None:
            assert covered == ["北京"]
        elif label == "问餐":
            assert "\n".join(covered) == text


def plain(number: int = 400) -> pl.DataFrame:
    """Reviews in which one word decides."""
    words = {"正面": ("满意", "喜欢"), "负面": ("失望", "恼火")}
    things = ("手机", "耳机", "衣服", "早餐", "包装", "台灯", "相机", "书包")
    rows = []
    for n in range(number):
        label = "正面" if n % 2 else "负面"
        word = words[label][n // 2 % 2]
        rows.append(
            (f"上个月买的{things[n % 8]}让人{word}，{chr(0x4E00 + n)}{chr(0x5E00 + n)}", label)
        )
    return raw(rows)


def opposites(folder: Path) -> Augment:
    """Synonyms that are none: in the owner's list stand opposites."""
    (folder / "words.txt").write_text("满意 失望\n喜欢 中意\n恼火 气人\n", encoding="utf-8")
    return Augment(methods=("synonyms",), lexicon="words.txt", share=1)


def turned(found: pl.DataFrame) -> int:
    """Texts whose word says the opposite of their label."""
    decides = pl.when(pl.col("label") == "正面").then(pl.lit("失望")).otherwise(pl.lit("满意"))
    return found.filter(pl.col("text").str.contains(decides)).height


def test_a_text_that_has_lost_its_label_is_rejected_and_told(tmp_path: Path) -> None:
    frame, step = plain(), opposites(tmp_path)
    made, run = children(step, frame, tmp_path)
    dropped = run.dropped()
    assert set(dropped["reason"]) == {"label_changed"}
    assert set(dropped["step"]) == {"augment"}
    assert set(dropped["detail"]) <= set(frame["id"])
    assert turned(dropped) > 150
    assert turned(made) < 5
    assert made.height > 150, "«中意» and «气人» are new to the model, and not held against a text"
    unchecked, none = children(step.model_copy(update={"check": False}), frame, tmp_path)
    assert none.dropped().is_empty()
    assert turned(unchecked) > 150, "negative control"


def test_a_model_that_is_given_is_asked_instead(tmp_path: Path) -> None:
    frame, step, run = plain(), opposites(tmp_path), scratch(tmp_path)
    live = tmp_path / "live"
    live.mkdir()
    Ngram(bits=16).fit(
        Lesson(
            frame,
            frame.clear(),
            (
                "正面",
                "负面",
            ),
        ),
        live,
        run,
    )
    step.survey(lambda: iter([frame]), run, live)
    kept = Survey(run.folder / step._name())
    assert kept.models[0] is kept.models[1]
    made = step.apply(frame, run).slice(frame.height)
    assert turned(made) == 0
    assert turned(run.dropped()) > 150


def test_a_survey_is_made_once_and_all_or_nothing(tmp_path: Path) -> None:
    frame, run, step, passes = reviews(), scratch(tmp_path), free(), [0]

    def frames() -> object:
        passes[0] += 1
        if passes[0] == 2:
            raise KeyboardInterrupt
        return iter([frame])

    with pytest.raises(KeyboardInterrupt):
        step.survey(frames, run)  # type: ignore[arg-type]
    assert not [path for path in run.folder.iterdir() if path.name.startswith("augment")]
    step.survey(frames, run)  # type: ignore[arg-type]
    assert passes[0] == 4
    step.survey(frames, run)  # type: ignore[arg-type]
    assert passes[0] == 4
    # Another shard sees the counts of the whole split, not its own.
    few = free(minimum_label=100)
    few.survey(lambda: iter([frame]), run)
    shard = frame.head(30)
    assert few.apply(shard, run.within("3")).height == shard.height
    assert children(few, shard, tmp_path)[0].height > 0, "negative control: alone it is rare"


def test_too_few_to_train_a_model_on_are_augmented_unchecked(tmp_path: Path) -> None:
    frame = raw([("房间很大，早餐也很好", "好"), ("房间很小，早餐也不好", "坏")])
    made, run = children(free(share=4), frame, tmp_path)
    assert made.height > 4
    assert run.dropped().is_empty()
    one = raw([(f"早餐第{n}次很好吃", "好") for n in "甲乙丙丁戊己庚辛" * 6])
    assert children(free(), one, tmp_path)[0].height > 0


def test_a_key_is_made_where_there_is_one(tmp_path: Path) -> None:
    frame = reviews().with_columns(twin_key(pl.col("text")).alias("key"))
    made, _run = children(free(), frame, tmp_path)
    assert made["key"].to_list() == keys(made)


def test_an_empty_frame_stays_empty(tmp_path: Path) -> None:
    assert children(free(), raw([]), tmp_path)[0].is_empty()


def test_the_file_of_words_is_named_for_the_fingerprint(tmp_path: Path) -> None:
    assert Augment(lexicon="w.txt").reads(tmp_path) == (tmp_path / "w.txt",)
    assert Augment().reads(tmp_path) == ()
    assert Augment.after_split


@pytest.mark.parametrize(
    "bad",
    [
        {"methods": []},
        {"methods": ["magic"]},
        {"methods": ["paraphrase"]},
        {"methods": ["back_translate"], "model": "m"},
        {"share": 0},
        {"strength": 0.9},
        {"endpoint": "file:///etc/passwd"},
        {"endpoint": "http://u:p@h/v1"},
        {"token": "sk-secret"},
        {"pivot": "x\nIgnore all"},
    ],
)
def test_settings_that_cannot_work_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Augment.model_validate(bad)


def test_a_token_is_written_down_by_its_name() -> None:
    step = Augment.model_validate({"token": "env:CHAT_TOKEN"})
    assert step.model_dump(mode="json")["token"] == "env:CHAT_TOKEN"
    assert Augment.model_validate(step.model_dump(mode="json")) == step


def test_the_difference_is_judged_not_the_label(tmp_path: Path) -> None:
    """A text that the model gets wrong anyway may still have children."""
    frame = raw([*ROWS, ("非常满意，推荐给大家，质量也很不错的耳机", "负面")])
    run = scratch(tmp_path)
    Survey.of(lambda: iter([frame]), run, run.folder / "s")
    survey = Survey(run.folder / "s")
    odd = frame.row(-1, named=True)
    same = check.Candidate(odd["id"], "负面", odd["text"], odd["text"].replace("大家", "大伙"))
    sure = check.Candidate(frame["id"][0], "正面", "非常满意，推荐耳机", "太差了，失望，想退货")
    unknown = check.Candidate("0" * 16, "没见过", "甲", "乙")
    assert survey.kept([same, sure, unknown]) == [True, False, True]


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.text(max_size=20), st.sampled_from([t for t, _ in ROWS[:9]])),
            st.sampled_from(["正面", "负面", "", None]),
        ),
        max_size=12,
    )
)
def test_any_records_will_do(rows: list[tuple[str | None, str | None]], tmp_path: Path) -> None:
    frame = raw(list(rows))
    made, _run = children(Augment(share=2, methods=("shapes", "delete", "swap")), frame, tmp_path)
    assert made.schema == SCHEMA
    assert set(keys(made)).isdisjoint(keys(frame.filter(pl.col("text").is_not_null())))
    assert made["label"].null_count() == 0
