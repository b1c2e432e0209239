"""Every task has its own records: what is dropped, how they are split and counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.core.artifacts import SPLITS, Dataset, Records, sharded
from feilun.core.errors import FeilunError
from feilun.core.records import SCHEMA, conform, parquet, read_shards
from feilun.stages.prepare import Prepare, PrepareGiven, shard
from feilun.stages.prepare import given as given_to
from feilun.stages.prepare.normalise import Normalise
from feilun.stages.prepare.split import NothingToFind, OneLabel, OneValue, SplitEmpty
from feilun.stages.prepare.step import StepUnfit
from feilun.tasks import Task, task_named
from feilun.wheel.runner import LocalRun
from tests.unit.stages.prepare.steps import applied
from tests.unit.stages.scratch import REVIEWS, raw, records, scratch

Spans = list[tuple[int, int, str]]
SEVERAL: dict[str, Any] = {"use": "classify", "multiple": True}
HAN = [chr(0x4E00 + 7 * n) for n in range(400)]


def frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Records of these columns; spans as tuples."""
    full = []
    for number, row in enumerate(rows):
        spans = row.get("spans")
        if spans is not None:
            spans = [{"start": s, "end": e, "label": label} for s, e, label in spans]
        full.append({"source": "x.csv", "row": number} | row | {"spans": spans})
    names = ("text", "label", "source", "row", "spans", "fields")
    return conform(pl.DataFrame(full, schema={name: SCHEMA[name] for name in names}))


def tagged(text: str, spans: Spans | None) -> dict[str, Any]:
    return {"text": text, "spans": spans}


def pair(first: str, second: str, label: str | None) -> dict[str, Any]:
    below = len(first) + 1
    spans = [(0, len(first), "first"), (below, below + len(second), "second")]
    return {"text": f"{first}\n{second}", "label": label, "spans": spans}


def prepared(
    rows: list[dict[str, Any]],
    task: str | dict[str, Any],
    run: LocalRun,
    *,
    size: int = 10_000,
    frozen: tuple[str, ...] = (),
    **more: Any,
) -> Dataset:
    whole = frame(rows)
    parts = [whole.slice(at, size) for at in range(0, whole.height, size)]
    files = sharded("records", [run.keep(parquet(part)) for part in parts])
    stage = Prepare.model_validate({"split": {"minimum": 4, "near_duplicates": 0}} | more)
    given = PrepareGiven(
        Records(files=files, num_rows=whole.height), frozen, None, task_named(task)
    )
    made = stage.run(given, run)
    assert sum(made.splits.values()) + sum(made.dropped.values()) == made.num_raw
    assert made.task == task
    return made


def of(made: Dataset, name: str, run: LocalRun) -> pl.DataFrame:
    return read_shards(run.file(digest) for digest in made.shards(name))


def gone(made: Dataset, run: LocalRun) -> dict[str, tuple[str, str | None]]:
    rows = of(made, "dropped", run).select("text", "reason", "detail").iter_rows()
    return {text: (reason, detail) for text, reason, detail in rows}


ENTITIES = [tagged(f"{HAN[n]}在北京", [(0, 1, "人"), (2, 4, "地")]) for n in range(40)]
PAIRS = [pair(f"{HAN[n]}怎么退货", f"{HAN[n + 100]}如何退款", "01"[n % 2]) for n in range(40)]
NUMBERS = [{"text": f"{HAN[n]}很好{HAN[n + 1]}", "label": str(n / 4)} for n in range(40)]
LABELS = [
    {"text": f"{HAN[n]}价格{HAN[n + 1]}", "label": ("物流|价格", "价格", "")[n % 3]}
    for n in range(40)
]
TASKS: list[tuple[Any, list[dict[str, Any]]]] = [
    ("tag", ENTITIES), ("match", PAIRS), ("regress", NUMBERS), (SEVERAL, LABELS),
]  # fmt: skip


# Labels are counted as the task counts them


@pytest.mark.parametrize(
    ("task", "rows", "labels", "counted"),
    [
        ("tag", ENTITIES, ("人", "地"), {"人": 8, "地": 8}),
        ("match", PAIRS, ("0", "1"), {"0": 4, "1": 4}),
        ("regress", NUMBERS, (), {}),
    ],
)
def test_labels_are_those_of_the_task(
    task: str, rows: list[dict[str, Any]], labels: Any, counted: Any, tmp_path: Path
) -> None:
    made = prepared(rows, task, scratch(tmp_path))
    assert made.labels == labels
    assert made.balance["test"] == counted
    assert made.splits == {"train": 28, "validation": 4, "test": 8, "unlabelled": 0}


def test_each_of_several_labels_is_counted(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    made = prepared(LABELS, SEVERAL, run)
    assert made.labels == ("价格", "物流")
    total = {name: sum(made.balance[s].get(name, 0) for s in SPLITS[:3]) for name in made.labels}
    assert total == {"价格": 27, "物流": 14}
    assert made.splits["unlabelled"] == 0, "none of the labels is an answer, too"
    assert set(of(made, "train", run)["label"]) <= {"价格|物流", "价格", ""}


@pytest.mark.parametrize(("task", "rows"), TASKS)
def test_shards_and_workers_change_nothing(
    task: Any, rows: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = prepared(rows, task, scratch(tmp_path), workers=1)
    for module in (given_to, shard):
        monkeypatch.setattr(module, "MOST_ROWS", 4)
    run = scratch(tmp_path)
    many = prepared(rows, task, run, size=4, workers=2)
    assert len(many.shards("train")) > 1, "processes worked on it"
    assert (many.splits, many.balance, many.labels) == (one.splits, one.balance, one.labels)
    for name in SPLITS:
        assert of(many, name, run).drop("key").equals(of(one, name, run).drop("key"))


@pytest.mark.parametrize(("task", "rows"), TASKS)
def test_the_task_is_part_of_what_prepare_was_made_of(
    task: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    found = Records(files={}, num_rows=0)
    plain = Prepare().inputs(PrepareGiven(found), tmp_path)
    assert "task" not in plain
    asked = Prepare().inputs(PrepareGiven(found, task=task_named(task)), tmp_path)
    assert asked["task"] == json.dumps(task_named(task).named(), sort_keys=True)


@pytest.mark.parametrize(("task", "rows"), TASKS)
def test_a_frozen_test_stays_and_is_counted(
    task: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    run = scratch(tmp_path)
    first = prepared(rows[:30], task, run)
    again = prepared(rows, task, scratch(tmp_path), frozen=first.shards("test"))
    assert again.shards("test") == first.shards("test")
    assert again.balance["test"] == first.balance["test"]
    assert again.splits["test"] == first.splits["test"]
    tested = set(of(first, "test", run)["text"])
    assert not tested & set(of(again, "train", run)["text"])


# What is no record of the task


@pytest.mark.parametrize(
    ("spans", "reason", "detail"),
    [
        ([(0, 2, "A"), (1, 3, "B")], "spans_overlap", '[[1,3,"B"]]'),
        ([(0, 4, "A"), (1, 2, "B")], "spans_overlap", '[[1,2,"B"]]'),
        ([(2, 3, "A"), (2, 3, "B")], "spans_overlap", '[[2,3,"B"]]'),
        ([(0, 9, "A")], "span_outside", '[[0,9,"A"]]'),
        ([(-1, 2, "A")], "span_outside", '[[-1,2,"A"]]'),
        ([(2, 2, "A")], "span_outside", '[[2,2,"A"]]'),
        ([(3, 1, "A")], "span_outside", '[[3,1,"A"]]'),
        ([(0, 1, "")], "span_outside", '[[0,1,""]]'),
        ([(0, 2, "A"), (1, 9, "B")], "span_outside", '[[1,9,"B"]]'),
    ],
)
def test_entities_that_cannot_be_learnt_are_dropped_with_the_reason(
    spans: Spans, reason: str, detail: str, tmp_path: Path
) -> None:
    run = scratch(tmp_path)
    made = prepared([*ENTITIES, tagged("我在上海", spans)], "tag", run)
    assert gone(made, run) == {"我在上海": (reason, detail)}


def test_entities_side_by_side_and_texts_without_any_stay(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    rows = [
        *ENTITIES, tagged("天气好", []), tagged("李四王五", [(0, 2, "人"), (2, 4, "人")]),
        tagged("不知道", None),
    ]  # fmt: skip
    made = prepared(rows, "tag", run)
    assert made.dropped == {}
    assert of(made, "unlabelled", run)["text"].to_list() == ["不知道"]


@pytest.mark.parametrize("label", ["四", "nan", "inf", "-inf", "1,5", "12%", "", "1e999"])
def test_what_is_no_number_is_dropped(label: str, tmp_path: Path) -> None:
    run = scratch(tmp_path)
    rows: list[dict[str, Any]] = [
        *NUMBERS,
        {"text": "怪", "label": label},
        {"text": "未", "label": None},
    ]
    made = prepared(rows, "regress", run)
    assert gone(made, run) == {"怪": ("not_a_number", label)}
    assert made.splits["unlabelled"] == 1
    assert set(of(made, "train", run)["label"]) <= {row["label"] for row in NUMBERS}, "as written"


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ({"text": "一条", "label": "1"}, "first, second"),
        ({"text": "一条", "label": None}, "first, second"),
        ({"text": "一条", "label": "1", "spans": [(0, 1, "first")]}, "second"),
        ({"text": "一条", "label": "1", "spans": [(0, 1, "first"), (1, 9, "second")]}, "second"),
        (
            {"text": "一条路", "spans": [(0, 1, "first"), (1, 2, "first"), (2, 3, "second")]},
            "first",
        ),
        # What is left of a text when the steps are done counts.
        (pair("一条", "\u200b", "1"), "second"),
    ],
)
def test_what_is_no_pair_is_dropped(row: dict[str, Any], detail: str, tmp_path: Path) -> None:
    run = scratch(tmp_path)
    made = prepared([*PAIRS, row], "match", run)
    assert made.dropped == {"not_a_pair": 1}
    assert [found for _reason, found in gone(made, run).values()] == [detail]


def test_lists_of_labels_and_joined_ones_become_the_same(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    rows: list[dict[str, Any]] = [
        *LABELS,
        {"text": "甲", "label": "快 | 贵|快", "fields": None},
        {"text": "乙", "label": None, "fields": '{"labels":["贵","快"]}'},
        {"text": "丙", "label": None, "fields": '{"labels":[]}'},
        {"text": "丁", "label": None, "fields": '{"other":["x"]}'},
    ]
    made = prepared(rows, SEVERAL, run)
    found = pl.concat([of(made, name, run).select("text", "label") for name in SPLITS])
    label = dict(found.iter_rows())
    assert (label["甲"], label["乙"], label["丙"], label["丁"]) == ("快|贵", "快|贵", "", None)
    assert made.splits["unlabelled"] == 1


# The split


def test_every_label_of_several_occurs_in_train(tmp_path: Path) -> None:
    rare = [{"text": f"{HAN[n + 200]}稀", "label": f"稀{n}|价格"} for n in range(30)]
    for seed in range(5):
        made = prepared([*LABELS, *rare], SEVERAL, scratch(tmp_path, seed=seed))
        assert set(made.balance["train"]) == set(made.labels)
        assert made.splits["test"] > 3


def test_a_label_with_one_record_is_learnt_from_and_told(tmp_path: Path) -> None:
    for seed in range(3):
        run = scratch(tmp_path, seed=seed)
        stage = Prepare.model_validate({"split": {"minimum": 4}})
        given = records([*REVIEWS, ("唯一的", "稀有"), ("罕见得很", "罕见")], run)
        made = stage.run(PrepareGiven(given), run)
        assert made.found["split.rare_labels"] == 2
        assert made.labels == ("正面", "稀有", "罕见", "负面")
        assert (made.balance["train"]["稀有"], made.balance["train"]["罕见"]) == (1, 1)
        assert set(made.balance["test"]) == {"正面", "负面"}


def test_a_twin_of_a_lonely_label_does_not_make_it_less_lonely(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    stage = Prepare.model_validate({"split": {"minimum": 4}})
    rows = [*REVIEWS, ("唯一的", "稀有"), ("唯一的！", "稀有")]
    made = stage.run(PrepareGiven(records(rows, run)), run)
    assert made.balance["train"]["稀有"] == 1


@pytest.mark.parametrize(
    ("task", "rows", "wanted"),
    [
        ("tag", [tagged(f"{HAN[n]}好", []) for n in range(20)], NothingToFind),
        (SEVERAL, [{"text": HAN[n], "label": ""} for n in range(20)], NothingToFind),
        ("regress", [{"text": HAN[n], "label": "3.0"} for n in range(20)], OneValue),
        (
            "regress",
            [{"text": HAN[n], "label": ("3", "3.0", "3e0")[n % 3]} for n in range(20)],
            OneValue,
        ),
        ("match", [pair(HAN[n], HAN[n + 99], "1") for n in range(20)], OneLabel),
        (
            "regress",
            [{"text": f"{HAN[n]}", "label": str(n), "source": "feedback"} for n in range(20)],
            SplitEmpty,
        ),
    ],
)
def test_nothing_to_learn_or_to_measure_is_told(
    task: Any, rows: list[dict[str, Any]], wanted: type[FeilunError], tmp_path: Path
) -> None:
    with pytest.raises(wanted) as caught:
        prepared(rows, task, scratch(tmp_path))
    assert caught.value.remedy
    assert "{" not in caught.value.message + caught.value.remedy.replace("{ label", "")


# Steps that go by labels


def test_the_same_text_with_other_entities_is_a_conflict(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    rows = [
        *ENTITIES,
        tagged("张三在上海", [(0, 2, "人"), (3, 5, "地")]),
        tagged("张三，在 上海！", [(0, 2, "人"), (5, 7, "地")]),  # a twin: the same entities
        tagged("张三在上海。", [(3, 5, "地")]),
        tagged("李四在家", [(0, 2, "人")]),
        tagged("李四在家！", []),
    ]
    made = prepared(rows, "tag", run)
    assert made.dropped == {"conflict": 3, "duplicate": 1}
    found = of(made, "dropped", run).filter(pl.col("text") == "张三在上海。")
    winner = frame(rows)["id"][40]
    assert found["detail"].to_list() == [winner], "the id of a record that has what stays"
    assert gone(made, run)["李四在家"] == ("conflict", None)


def test_asking_about_entities_lists_records_for_each_answer(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    rows = [
        *ENTITIES,
        *(tagged(f"李四在家{'！' * n}", [(0, 2, "人")]) for n in range(2)),
        tagged("李四在家。", []),
    ]
    steps = [{"use": "conflicts", "keep": "ask"}]
    made = prepared(rows, "tag", run, steps=steps)
    assert made.dropped == {"conflict_asked": 3}
    ids = frame(rows)["id"]
    votes = json.loads(of(made, "dropped", run)["detail"][0])
    assert votes == {ids[40]: 2, ids[42]: 1}


def test_two_numbers_for_a_text_are_no_conflict(tmp_path: Path) -> None:
    rows = [*NUMBERS, {"text": "同一句", "label": "3"}, {"text": "同一句", "label": "4"}]
    made = prepared(rows, "regress", scratch(tmp_path))
    assert made.dropped == {"duplicate": 1}


def test_pairs_and_sets_of_labels_have_conflicts(tmp_path: Path) -> None:
    rows = [*PAIRS, pair("甲", "乙", "1"), pair("甲", "乙", "0")]
    assert prepared(rows, "match", scratch(tmp_path)).dropped == {"conflict": 2}
    rows = [*LABELS, *({"text": "同", "label": label} for label in ("a|b", "b|a", "a"))]
    made = prepared(rows, SEVERAL, scratch(tmp_path))
    assert made.dropped == {"conflict": 1, "duplicate": 1}


@pytest.mark.parametrize(
    ("step", "task"),
    [
        ({"use": "label_errors"}, "tag"),
        ({"use": "label_errors"}, "regress"),
        ({"use": "label_errors"}, "match"),
        ({"use": "label_errors"}, SEVERAL),
        ({"use": "balance"}, "tag"),
        ({"use": "balance"}, "regress"),
        ({"use": "balance"}, SEVERAL),
        ({"use": "augment", "minimum_label": 9}, "regress"),
    ],
)
def test_a_step_without_meaning_is_refused_before_any_work(
    step: dict[str, Any], task: Any, tmp_path: Path
) -> None:
    stage = Prepare.model_validate({"steps": [step]})
    with pytest.raises(StepUnfit, match=step["use"]) as caught:
        stage.inputs(PrepareGiven(Records(files={}, num_rows=0), task=task_named(task)), tmp_path)
    assert caught.value.remedy
    stage.inputs(PrepareGiven(Records(files={}, num_rows=0)), tmp_path)


def test_pairs_can_be_balanced(tmp_path: Path) -> None:
    rows = [*PAIRS, *(pair(HAN[n + 150], HAN[n + 250], "1") for n in range(60))]
    made = prepared(rows, "match", scratch(tmp_path), steps=[{"use": "balance", "least": 1}])
    assert made.balance["train"]["1"] == 3 * made.balance["train"]["0"]


@pytest.mark.parametrize(("task", "rows"), TASKS)
def test_augmented_records_are_of_the_task(
    task: Any, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    more = [row | {"text": row["text"] + "，房间很干净但是声音太吵，价格便宜"} for row in rows]
    if task == "match":
        more = [
            pair(f"{HAN[n]}房间干净，服务很好", f"{HAN[n + 9]}价格便宜，声音太吵", "01"[n % 2])
            for n in range(40)
        ]
    run = scratch(tmp_path)
    steps = [{"use": "augment", "share": 1.0, "strength": 0.3}]
    made = prepared_and_grown(more, task, run, steps)
    train = of(made, "train", run)
    added = train.filter(pl.col("source").str.starts_with("augment:"))
    assert added.height > 5
    asked: Task = task_named(task)
    assert added.select(asked.labelled()).to_series().all()
    asked.inputs(added)
    asked.truth(added)
    if task == "tag":
        parents = {row["text"][:1] for row in more}
        for text, spans in added.select("text", "spans").iter_rows():
            assert [text[s["start"] : s["end"]] for s in spans][1] == "北京"
            assert text[spans[0]["start"] : spans[0]["end"]] in parents


def prepared_and_grown(
    rows: list[dict[str, Any]], task: Any, run: LocalRun, steps: list[dict[str, Any]]
) -> Dataset:
    files = {"records.parquet": run.keep(parquet(frame(rows)))}
    stage = Prepare.model_validate({"split": {"minimum": 4, "near_duplicates": 0}, "steps": steps})
    given = PrepareGiven(Records(files=files, num_rows=len(rows)), task=task_named(task))
    return stage.run(given, run)


# Spans stay on what they are on

SOLID = st.text("ab甲乙ＡＢ１２é①ﬁ", min_size=1, max_size=4)
LOOSE = st.text("xy丙 　，\u200b\n", max_size=4)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(st.tuples(LOOSE, SOLID), min_size=1, max_size=5), end=LOOSE)
def test_entities_are_what_they_were_after_normalise(
    pieces: list[tuple[str, str]], end: str, tmp_path: Path
) -> None:
    text, spans = "", []
    for loose, solid in pieces:
        text += loose
        spans.append({"start": len(text), "end": len(text) + len(solid), "label": "X"})
        text += solid
    given = pl.DataFrame(
        {"text": [text + end], "spans": [spans]}, schema={n: SCHEMA[n] for n in ("text", "spans")}
    )
    (after,) = applied(Normalise(), given, tmp_path).frame.to_dicts()
    found = [after["text"][s["start"] : s["end"]] for s in after["spans"]]
    alone = applied(
        Normalise(), pl.DataFrame({"text": [solid for _loose, solid in pieces]}), tmp_path
    )
    assert found == alone.texts


def test_plain_records_are_as_they_were(tmp_path: Path) -> None:
    """Negative control: without a task nothing is looked for in spans or labels."""
    run = scratch(tmp_path)
    rows = raw([*REVIEWS])
    spans = pl.Series(
        [[{"start": 0, "end": 99, "label": "A"}]] * rows.height, dtype=SCHEMA["spans"]
    )
    whole = conform(rows.drop("id").with_columns(spans.alias("spans")))
    files = {"records.parquet": run.keep(parquet(whole))}
    stage = Prepare.model_validate({"split": {"minimum": 4}, "steps": []})
    made = stage.run(PrepareGiven(Records(files=files, num_rows=whole.height)), run)
    assert made.dropped == {}
    assert made.task == "classify"
    assert "task" not in {count.step for count in made.funnel}
