"""Answers out of scores; a text with nothing to judge by gets no label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.tasks import Classify
from feilun.tasks.task import contentless


@pytest.mark.parametrize(
    "text", ["", "   ", "\n\t", "。！？…", "!!! --- ...", "\u200b\ufeff", "「」", "\x00"]
)
def test_punctuation_and_space_are_no_content(text: str) -> None:
    assert contentless(text)


@pytest.mark.parametrize("text", ["好", "a", "1", "👍", "。好。", "½", "+1", "é", "ありがとう"])
def test_letters_digits_and_symbols_are_content(text: str) -> None:
    assert not contentless(text)


@given(st.text(), st.text())
def test_more_text_never_takes_content_away(text: str, more: str) -> None:
    assert contentless(text + more) == (contentless(text) and contentless(more))


def test_the_best_label_wins_and_ties_go_to_the_first() -> None:
    scores = np.array([[0.2, 0.8], [0.5, 0.5]], dtype=np.float32)
    one, two = Classify().predictions(["x", "y"], ("a", "b"), scores)
    assert (one.label, one.reason) == ("b", None)
    assert one.score == pytest.approx(0.8)
    assert one.scores == pytest.approx({"a": 0.2, "b": 0.8})
    assert two.label == "a"


def test_without_content_or_knowledge_there_is_no_label_and_a_reason() -> None:
    scores = np.array([[0.9, 0.1], [np.nan, np.nan], [np.nan, np.nan]], dtype=np.float32)
    empty, unknown, both = Classify().predictions(["！", "zzz", ""], ("a", "b"), scores)
    assert empty == (None, 0.0, {"a": 0.5, "b": 0.5}, "empty")
    assert unknown.reason == "unknown"
    assert both.reason == "empty"


def test_no_texts_have_no_answers() -> None:
    assert Classify().predictions([], ("a", "b"), np.zeros((0, 2), dtype=np.float32)) == []
