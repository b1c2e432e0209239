"""Entities: read out of spans, written as JSON, and refused where they do not fit."""

from __future__ import annotations

import json
from collections import Counter

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core.records import conform
from feilun.tasks import BadAnswer, Entities, Entity, Tag, jsonable, spans, written_scores
from feilun.tasks.tag import BadSpans

TASK = Tag()
TEXT = "王小明住在北京。"


def span(start: int | None, end: int | None, label: str | None) -> dict[str, object]:
    return {"start": start, "end": end, "label": label}


def frame(*rows: list[dict[str, object]] | None) -> pl.DataFrame:
    ids = [f"{number:016x}" for number in range(len(rows))]
    return conform(pl.DataFrame({"id": ids, "text": [TEXT] * len(rows), "spans": list(rows)}))


class Fixed:
    """A model whose entities are given."""

    labels = ("LOC", "PER")

    def __init__(self, *found: list[Entity] | None) -> None:
        self._found = list(found)

    def entities(self, texts: object) -> list[list[Entity] | None]:
        return self._found


def test_the_truth_is_the_spans_by_their_start() -> None:
    given = frame([span(5, 7, "LOC"), span(0, 3, "PER")], [])
    assert TASK.truth(given) == ['[[0,3,"PER"],[5,7,"LOC"]]', "[]"]
    assert TASK.entities(given) == [[(0, 3, "PER"), (5, 7, "LOC")], []]
    assert TASK.labels(given) == Counter(LOC=1, PER=1)
    assert TASK.inputs(given) == [TEXT, TEXT]


def test_null_is_not_labelled_and_an_empty_list_is() -> None:
    given = frame([span(0, 3, "PER")], [], None)
    assert given.select(TASK.labelled()).to_series().to_list() == [True, True, False]
    assert given.select(TASK.stratum()).unique().item() == ""
    assert TASK.labels(given) == {"PER": 1}


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ([span(0, 3, "PER"), span(2, 5, "LOC")], r"\[2, 5, LOC\].*overlaps \[0, 3, PER\]"),
        ([span(0, 3, "PER"), span(0, 3, "PER")], "overlaps"),
        ([span(0, 6, "PER"), span(1, 2, "LOC")], "overlaps"),
        ([span(5, 9, "LOC")], r"\[5, 9, LOC\].*the text has 8 characters"),
        ([span(-1, 2, "LOC")], "the text has 8 characters"),
        ([span(2, 2, "LOC")], "end must be above"),
        ([span(3, 2, "LOC")], "end must be above"),
        ([span(1, 2, None)], "needs a start"),
        ([span(1, 2, "")], "needs a start"),
        ([span(None, 2, "LOC"), span(0, 1, "LOC")], "needs a start"),
    ],
)
def test_spans_that_do_not_fit_are_told_with_their_record(
    bad: list[dict[str, object]], problem: str
) -> None:
    with pytest.raises(BadSpans, match=problem) as told:
        TASK.truth(frame([], bad))
    assert f"record {1:016x} " in told.value.message
    assert told.value.remedy is not None


def test_spans_that_touch_do_not_overlap() -> None:
    assert TASK.truth(frame([span(3, 5, "A"), span(0, 3, "A"), span(5, 8, "A")]))


def test_a_correction_becomes_a_record() -> None:
    found = TASK.record(TEXT, '[[5, 7, "LOC"], [0,3,"PER"]]')
    assert found == {
        "text": TEXT,
        "label": None,
        "spans": [span(0, 3, "PER"), span(5, 7, "LOC")],
    }
    assert TASK.record(TEXT, "[]")["spans"] == []


@pytest.mark.parametrize(
    "written",
    [
        "",
        "PER",
        "{}",
        "null",
        "[1]",
        "[[0,3]]",
        '[["0",3,"PER"]]',
        "[[0,3,4]]",
        '[[true,3,"PER"]]',
        '[[0.0,3,"PER"]]',
        '[[0,9,"PER"]]',
        '[[-1,2,"PER"]]',
        '[[2,2,"PER"]]',
        '[[0,3,""]]',
        '[[0,3,"PER"],[1,2,"LOC"]]',
        "[" * 100_000,
        '[[1e999,2,"PER"]]',
    ],
)
def test_what_is_no_correction_is_refused(written: str) -> None:
    with pytest.raises(BadAnswer, match="is no answer for the task tag"):
        TASK.record(TEXT, written)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.text(min_size=1)), max_size=6))
def test_what_is_written_is_read_back(rows: list[tuple[int, int, str]]) -> None:
    text = spans.written(rows)
    assert spans.read(text) == sorted(rows)
    assert json.loads(text) == [list(row) for row in sorted(rows)]


@given(st.lists(st.tuples(st.integers(-2, 12), st.integers(-2, 12), st.just("A")), max_size=5))
def test_spans_without_fault_cover_no_character_twice(rows: list[tuple[int, int, str]]) -> None:
    covered = [at for start, end, _label in rows for at in range(start, end)]
    fit = len(set(covered)) == len(covered) and set(covered) <= set(range(10))
    solid = all(start < end for start, end, _label in rows)
    assert (spans.fault(sorted(rows), 10) is None) == (fit and solid)


def test_answers_have_their_entities_and_how_sure_they_are() -> None:
    two = [Entity(0, 3, "PER", 0.9), Entity(5, 7, "LOC", 0.5)]
    found, none, unknown, empty = TASK.answers(
        Fixed(two, [], None, []), [TEXT, "无", "zzz", "。。"]
    )
    assert found == Entities(tuple(two), pytest.approx(0.45))
    assert found.written == '[[0,3,"PER"],[5,7,"LOC"]]'
    assert jsonable(found)["entities"][0] == {"start": 0, "end": 3, "label": "PER", "score": 0.9}
    assert (none, none.written) == (Entities((), 1.0), "[]")
    assert (unknown, unknown.written) == (Entities(None, 0.0, "unknown"), None)
    assert empty.reason == "empty"


def test_labels_of_an_answer_are_counted_once() -> None:
    assert TASK.counted('[[0,1,"B"],[1,2,"A"],[2,3,"B"]]') == ["A", "B"]
    assert TASK.trivial(['[[0,1,"B"]]']) == "[]"


def test_the_probability_of_each_entity_is_written_in_their_order() -> None:
    found = Entities((Entity(0, 3, "PER", 0.98765), Entity(5, 7, "LOC", 0.5)), 0.49)
    assert written_scores(found) == "[0.9877,0.5]"
    assert written_scores(Entities((), 1.0)) == "[]"
    assert written_scores(Entities(None, 0.0, "empty")) is None
