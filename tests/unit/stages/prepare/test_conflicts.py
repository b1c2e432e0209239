"""Conflicts: what stays, what is dropped, what a person is asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.stages.prepare.conflicts import Conflicts
from feilun.stages.prepare.twins import twin_key
from tests.unit.stages.scratch import Row, raw, scratch

ROWS: list[Row] = [
    ("一样的话", "正面"),
    ("一样的话！", "负面"),
    (" 一样的话", "正面"),
    ("一样的话", None),
    ("两说", "甲"),
    ("两说。", "乙"),
    ("没有争议", "甲"),
    ("没有争议", "甲"),
    ('引号"和\\', '甲"\\\n'),
    ('引号"和\\', "乙"),
]


def apply(keep: str, rows: list[Row], folder: Path) -> tuple[list[str], pl.DataFrame]:
    run = scratch(folder)
    kept = Conflicts.model_validate({"keep": keep}).apply(raw(rows), run)
    assert kept.columns == raw([]).columns
    return [f"{text}|{label}" for text, label in kept.select("text", "label").rows()], run.dropped()


def test_the_winner_is_told_with_each_loser(tmp_path: Path) -> None:
    kept, dropped = apply("majority", ROWS, tmp_path)
    assert kept == [
        "一样的话|正面",
        " 一样的话|正面",
        "一样的话|None",
        "没有争议|甲",
        "没有争议|甲",
    ]
    assert dropped.select("text", "reason", "detail").rows() == [
        ("一样的话！", "conflict", "正面"),
        ("两说", "conflict", None),
        ("两说。", "conflict", None),
        ('引号"和\\', "conflict", None),
        ('引号"和\\', "conflict", None),
    ]


def test_with_none_every_contested_label_goes(tmp_path: Path) -> None:
    kept, dropped = apply("none", ROWS, tmp_path)
    assert kept == ["一样的话|None", "没有争议|甲", "没有争议|甲"]
    assert dropped["detail"].null_count() == dropped.height == 7


def test_with_ask_the_contested_texts_are_taken_out_with_their_votes(tmp_path: Path) -> None:
    kept, dropped = apply("ask", ROWS, tmp_path)
    assert kept == ["一样的话|None", "没有争议|甲", "没有争议|甲"]
    assert set(dropped["reason"]) == {"conflict_asked"}
    details = dropped["detail"].to_list()
    assert details[:3] == ['{"正面":2,"负面":1}'] * 3
    assert details[3:5] == ['{"乙":1,"甲":1}'] * 2
    assert [json.loads(detail) for detail in details[5:]] == [{'甲"\\\n': 1, "乙": 1}] * 2


def test_a_label_that_looks_like_votes_does_not_save_a_record(tmp_path: Path) -> None:
    votes = '{"a":1,"{\\"a\\":1}":1}'
    rows: list[Row] = [("x", '{"a":1}'), ("x", "a"), ("y", votes), ("y", "b")]
    kept, dropped = apply("ask", rows, tmp_path)
    assert kept == []
    assert dropped.height == 4


@pytest.mark.parametrize("keep", ["majority", "none", "ask"])
@pytest.mark.parametrize("rows", [[], [("a", None)], [("a", "x"), ("a", "x")]])
def test_where_nothing_is_contested_nothing_is_dropped(
    keep: str, rows: list[Row], tmp_path: Path
) -> None:
    kept, dropped = apply(keep, rows, tmp_path)
    assert len(kept) == len(rows)
    assert dropped.is_empty()


SOME = st.lists(
    st.tuples(st.sampled_from(["a", "A!", "b", "c"]), st.sampled_from(["x", "y", "z", None])),
    max_size=25,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=SOME, random=st.randoms(use_true_random=False))
def test_it_counts_votes_as_one_would_by_hand(
    rows: list[tuple[str, str | None]], random: object, tmp_path: Path
) -> None:
    votes: dict[str, Counter[str]] = {}
    keys = raw(list(rows)).select(twin_key(pl.col("text"))).to_series().to_list()
    for key, (_text, label) in zip(keys, rows, strict=True):
        if label is not None:
            votes.setdefault(key, Counter())[label] += 1
    contested = {key: count for key, count in votes.items() if len(count) > 1}
    wins = {
        key: label
        for key, count in contested.items()
        for label, number in count.items()
        if number * 2 > count.total()
    }
    stay = [
        row
        for key, row in zip(keys, rows, strict=True)
        if row[1] is None or key not in contested or wins.get(key) == row[1]
    ]
    assert apply("majority", list(rows), tmp_path)[0] == [f"{t}|{label}" for t, label in stay]
    _kept, dropped = apply("ask", list(rows), tmp_path)
    told = {
        key: Counter(json.loads(detail))
        for key, detail in dropped.select(twin_key(pl.col("text")), "detail").rows()
    }
    assert told == contested
    shuffled = list(rows)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    _kept, other = apply("ask", list(shuffled), tmp_path)
    assert sorted(other["detail"]) == sorted(dropped["detail"])
