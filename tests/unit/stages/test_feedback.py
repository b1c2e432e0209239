"""Feedback: one vote per source and text, the majority wins, the rest is dropped with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feilun.stages.feedback import Feedback, FeedbackGiven
from feilun.stages.feedback.corrections import Corrections
from feilun.stages.feedback.ratings import Ratings
from tests.unit.stages.scratch import scratch


def said(text: str, value: Any, source: str = "u1", kind: str = "correction") -> dict[str, Any]:
    return {"input": text, "label": "正面", "kind": kind, "value": value, "source": source}


def collect(
    rows: list[dict[str, Any]], folder: Path, **settings_: Any
) -> tuple[dict[str, str], dict[str, str]]:
    """Text → label of what is kept, text → reason of what is dropped."""
    run = scratch(folder)
    numbered = [{**row, "seq": at} for at, row in enumerate(rows, start=1)]
    made = Feedback.model_validate(settings_).run(FeedbackGiven(numbered, ("正面", "负面")), run)
    kept = pl.read_parquet(run.file(made.files["records.parquet"]))
    dropped = pl.read_parquet(run.file(made.files["dropped.parquet"]))
    assert made.num_rows == kept.height == made.sources["feedback"]
    assert set(kept["source"]) <= {"feedback"}
    return dict(kept.select("text", "label").rows()), dict(dropped.select("text", "reason").rows())


@pytest.mark.parametrize(
    ("rows", "kept", "dropped"),
    [
        ([], {}, {}),
        ([said("a", "负面")], {"a": "负面"}, {}),
        ([said("a", " 负面 ")], {"a": "负面"}, {}),
        ([said("a", "负面"), said("a", "正面")], {"a": "正面"}, {}),
        ([said("a", "负面"), said("a", "正面", "u2")], {}, {"a": "disputed"}),
        ([said("a", "负面"), said("a", "正面", "u2"), said("a", "负面", "u3")], {"a": "负面"}, {}),
        ([said("a", "新"), said("b", "负面")], {"b": "负面"}, {"a": "unknown_label"}),
        ([said("a", True, kind="rating")], {"a": "正面"}, {}),
        ([said("a", 0.75, kind="rating")], {"a": "正面"}, {}),
        ([said("a", 0.74, kind="rating")], {}, {}),
        ([said("a", False, kind="rating")], {}, {}),
        ([said("a", "负面", kind="outcome")], {"a": "负面"}, {}),
        ([said("a", 3, kind="outcome")], {}, {}),
        ([said("a", "负面", kind="comment")], {}, {}),
    ],
)
def test_votes_are_counted_by_source_and_text(
    rows: list[dict[str, Any]], kept: dict[str, str], dropped: dict[str, str], tmp_path: Path
) -> None:
    assert collect(rows, tmp_path) == (kept, dropped)


def test_the_settings_change_what_counts(tmp_path: Path) -> None:
    rows = [said("a", "新"), said("b", "负面"), said("b", "负面", "u2")]
    assert collect(rows, tmp_path, minimum_votes=2) == ({"b": "负面"}, {"a": "too_few_votes"})
    assert collect(rows, tmp_path, new_labels=True)[0] == {"a": "新", "b": "负面"}
    strict = [{"use": "ratings", "good": 1.0}]
    assert collect([said("a", 0.9, kind="rating")], tmp_path, collectors=strict) == ({}, {})
    assert collect(rows, tmp_path, collectors=strict) == ({}, {})


def test_an_answer_without_label_cannot_be_confirmed() -> None:
    row = {**said("a", True, kind="rating"), "label": None, "seq": 1}
    assert Ratings().vote(row) is None
    assert Corrections().vote(row) is None


def test_the_newest_feedback_and_the_labels_make_the_identity() -> None:
    stage = Feedback()
    rows = [{**said("a", "负面"), "seq": 4}]
    one = stage.inputs(FeedbackGiven(rows, ("a", "b")), Path())
    assert one["feedback_through"] == "4"
    assert one != stage.inputs(FeedbackGiven(rows, ("a",)), Path())
    assert stage.inputs(FeedbackGiven([], ("a", "b")), Path())["feedback_through"] == "0"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.builds(
            said,
            st.sampled_from("abc"),
            st.sampled_from(["正面", "负面", "新"]),
            st.sampled_from(["u1", "u2", "u3"]),
        ),
        max_size=15,
    )
)
def test_one_source_never_outvotes_two(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    kept, dropped = collect(rows, tmp_path)
    latest: dict[tuple[str, str], str] = {(r["input"], r["source"]): r["value"] for r in rows}
    for text in {row["input"] for row in rows}:
        assert (text in kept) != (text in dropped), "kept or dropped, exactly once"
        votes = [value for (of, _source), value in latest.items() if of == text]
        if text in kept:
            assert all(votes.count(kept[text]) > votes.count(v) for v in votes if v != kept[text])
