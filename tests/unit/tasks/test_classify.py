"""Answers out of scores; a text with nothing to judge by gets no label."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.records import conform
from feilun.tasks import BadAnswer, Classify, Labels, Prediction, task_named
from feilun.tasks.metrics import micro_f1
from feilun.tasks.task import contentless

ONE, SEVERAL = Classify(), Classify(multiple=True)


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


class Fixed:
    """A model whose probabilities are given."""

    def __init__(self, *rows: list[float], labels: tuple[str, ...] = ("a", "b")) -> None:
        self.labels = labels
        self._rows = np.array(rows, dtype=np.float32).reshape(-1, len(labels))

    def scores(self, inputs: object) -> np.ndarray:
        return self._rows


def test_the_best_label_wins_and_ties_go_to_the_first() -> None:
    one, two = ONE.answers(Fixed([0.2, 0.8], [0.5, 0.5]), ["x", "y"])
    assert isinstance(one, Prediction)
    assert isinstance(two, Prediction)
    assert (one.label, one.reason) == ("b", None)
    assert one.score == pytest.approx(0.8)
    assert one.scores == pytest.approx({"a": 0.2, "b": 0.8})
    assert two.label == "a"


def test_without_content_or_knowledge_there_is_no_label_and_a_reason() -> None:
    nan = [np.nan, np.nan]
    empty, unknown, both = ONE.answers(Fixed([0.9, 0.1], nan, nan), ["！", "zzz", ""])
    assert empty == (None, 0.0, {"a": 0.5, "b": 0.5}, "empty")
    assert unknown.reason == "unknown"
    assert both.reason == "empty"


def test_no_texts_have_no_answers() -> None:
    assert ONE.answers(Fixed(), []) == []
    assert SEVERAL.answers(Fixed(), []) == []


def test_of_several_labels_each_of_half_or_more_holds() -> None:
    model = Fixed([0.5, 0.9], [0.2, 0.25], labels=("b", "a"))
    two, none = SEVERAL.answers(model, ["x", "y"])
    assert isinstance(two, Labels)
    assert (two.labels, two.written) == (("a", "b"), "a|b")
    assert two.score == pytest.approx(0.5 * 0.9)
    assert (none.written, none.reason) == ("", None)
    assert none.score == pytest.approx(0.8 * 0.75)


def test_no_answer_is_not_the_answer_that_there_is_no_label() -> None:
    unknown, empty = SEVERAL.answers(Fixed([np.nan, np.nan], [1, 1]), ["zzz", "。"])
    assert unknown == ((), 0.0, {"a": 0.5, "b": 0.5}, "unknown")
    assert unknown.written is None
    assert empty.written is None


def test_several_labels_are_written_in_one_way() -> None:
    frame = conform(pl.DataFrame({"text": ["x", "y", "z"], "label": ["b| a|b", "", "a"]}))
    assert SEVERAL.truth(frame) == ["a|b", "", "a"]
    assert SEVERAL.labels(frame) == {"a": 2, "b": 1}
    assert SEVERAL.record("x", " b|a|") == {"text": "x", "label": "a|b", "spans": None}
    assert SEVERAL.record("x", "")["label"] == ""
    assert SEVERAL.counted("a|b") == ["a", "b"]
    assert frame.select(SEVERAL.stratum()).unique().item() == ""
    assert frame.select(SEVERAL.labelled()).to_series().all()


def test_one_label_is_taken_as_it_is() -> None:
    frame = conform(pl.DataFrame({"text": ["x"], "label": ["b|a"]}))
    assert ONE.truth(frame) == ["b|a"]
    assert ONE.labels(frame) == {"b|a": 1}
    assert frame.select(ONE.stratum()).item() == "b|a"
    with pytest.raises(BadAnswer, match="a label is wanted"):
        ONE.record("x", "  ")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=12))
def test_the_trivial_answer_is_the_best_that_looks_at_no_text(rows: list[set[str]]) -> None:
    truth = ["|".join(sorted(row)) for row in rows]

    def worth(answer: str) -> float:
        found = SEVERAL.counting.tally(truth, [answer] * len(truth))
        return float(micro_f1(found))

    every = ("|".join(some) for size in range(5) for some in combinations("abcd", size))
    assert worth(SEVERAL.trivial(truth)) == pytest.approx(max(map(worth, every)))


def test_the_task_is_named_with_what_is_not_the_default() -> None:
    assert ONE.named() == "classify"
    assert SEVERAL.named() == {"use": "classify", "multiple": True}
    assert task_named(SEVERAL.named()) == SEVERAL
    assert (ONE.metrics[0], SEVERAL.metrics[0]) == ("accuracy", "micro_f1")
