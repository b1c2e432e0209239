"""Pairs of texts, lists of labels, numbers: what collect makes of them for each task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feilun.core.records import conform
from feilun.stages.collect import layouts
from feilun.stages.collect.files import Files
from feilun.stages.collect.source import Quarantine
from feilun.stages.prepare.fit import Fit
from feilun.tasks import task_named
from tests.unit.stages.collect.layouts import WHERE, marked, of_json, raw_json, records


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sentence1", "sentence2"), ("text_a", "text_b"), ("query", "title"), ("first", "second"),
        ("question1", "question2"), ("句子1", "句子2"), ("Premise", " hypothesis"),
    ],
)  # fmt: skip
def test_a_pair_is_told_from_its_names(first: str, second: str) -> None:
    rows = [{"id": "7", first: "怎么退货", second: "如何退款？", "label": "1"}]
    assert layouts.detect(raw_json(rows)) == "pairs"
    (record,) = of_json(rows, "pairs")
    assert record["text"] == "怎么退货\n如何退款？"
    assert marked(record) == [("first", "怎么退货"), ("second", "如何退款？")]
    assert record["label"] == "1"
    assert task_named("match").inputs(conform(frame(rows))) == [("怎么退货", "如何退款？")]


def frame(rows: list[dict[str, str]]) -> pl.DataFrame:
    return layouts.shaped(raw_json(rows), "pairs", {}, WHERE, Quarantine())


@pytest.mark.parametrize(
    ("rows", "layout"),
    [
        # A text of its own is what a record is about.
        ([{"text": "很好", "first": "a", "second": "b"}], "labelled"),
        ([{"first": "1", "second": "2", "third": "3"}], "tabular"),
        ([{"query": "退货", "title2": "如何退货"}], "labelled"),
    ],
)
def test_what_only_looks_like_a_pair_is_none(rows: list[dict[str, str]], layout: str) -> None:
    assert layouts.detect(raw_json(rows)) == layout


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "问题,候选,相同,人\n怎么退,如何退,1.0,甲\n怎么退,多少钱,0.0,乙\n", encoding="utf-8"
    )
    columns = {"first": "问题", "second": "候选", "label": "相同", "group": "人"}
    source = Files(path="p.csv", columns=columns)
    (piece,) = source.pieces(tmp_path, None)
    found = pl.concat(piece.frames(Quarantine()))
    assert found["text"].to_list() == ["怎么退\n如何退", "怎么退\n多少钱"]
    assert found["label"].to_list() == ["1.0", "0.0"], "a number stays as it is written"
    assert found["group"].to_list() == ["甲", "乙"]


def test_a_row_without_one_of_the_texts_is_refused() -> None:
    quarantine = Quarantine()
    rows: list[dict[str, Any]] = [
        {"sentence1": "a\nb", "sentence2": " c "}, {"sentence1": " ", "sentence2": "x"},
        {"sentence1": "y", "sentence2": None},
    ]  # fmt: skip
    (record,) = of_json(rows, "pairs", quarantine)
    assert marked(record) == [("first", "a\nb"), ("second", "c")]
    assert record["label"] is None
    assert quarantine.counts == {"no_text": 2}


def test_a_pair_beyond_the_first_plane_is_counted_in_code_points() -> None:
    (record,) = of_json([{"first": "😀𠮷", "second": "好"}], "pairs")
    assert marked(record) == [("first", "😀𠮷"), ("second", "好")]


@pytest.mark.parametrize(
    ("cell", "label"),
    [(["b", "a"], "a|b"), ('["b","a","b"]', "a|b"), ("b|a", "a|b"), ([], ""), ("a", "a"),
     (["a"], "a"), (None, None)],
)  # fmt: skip
def test_lists_of_labels_are_several_labels(cell: object, label: str | None) -> None:
    chunk = raw_json([{"text": "很好", "label": cell}, {"text": "不好", "label": "c"}])
    whole = conform(layouts.shaped(chunk, "labelled", {}, WHERE, Quarantine()))
    fit = Fit(task=task_named({"use": "classify", "multiple": True}))
    assert fit.apply(whole, None)["label"].to_list() == [label, "c"]  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["1", "1.50", "-0.5", "1e3", "007", "3.0"])
def test_numbers_stay_text(number: str) -> None:
    (record,) = records(raw_json([{"text": "很好", "label": number}]), "labelled")
    assert record["label"] == number


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        (["I-A", "I-A", "O", "O"], [("A", "北京")]),
        (["O", "I-A", "I-A", "O"], [("A", "京人")]),
        (["B-A", "I-B", "O", "O"], [("A", "北"), ("B", "京")]),
        (["I-A", "B-A", "O", "I-B"], [("A", "北"), ("A", "京"), ("B", "好")]),
        (["E-A", "S-A", "B-A", "E-A"], [("A", "北"), ("A", "京"), ("A", "人好")]),
    ],
)
def test_a_tag_that_follows_nothing_begins_an_entity(
    tags: list[str], wanted: list[tuple[str, str]]
) -> None:
    (record,) = of_json([{"tokens": list("北京人好"), "ner_tags": tags}], "conll")
    assert marked(record) == wanted
    assert record["label"] is None
