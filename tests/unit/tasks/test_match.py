"""Pairs: taken out of a record's text and spans, and put back."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core.records import conform
from feilun.tasks import BadAnswer, Match, Pair
from feilun.tasks.match import NoSuchLabel, NotAPair

TASK = Match()


class Fixed:
    """A model whose probabilities are given."""

    def __init__(self, *rows: list[float], labels: tuple[str, ...] = ("0", "1")) -> None:
        self.labels = labels
        self._rows = np.array(rows, dtype=np.float32).reshape(-1, len(labels))

    def scores(self, inputs: object) -> np.ndarray:
        return self._rows


def frame(*records: dict[str, object]) -> pl.DataFrame:
    return conform(pl.DataFrame(list(records), schema_overrides={"label": pl.String}))


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=5))
def test_a_pair_is_the_same_after_it_became_a_record(pairs: list[tuple[str, str]]) -> None:
    records = [TASK.record(TASK.written_input(pair), "1") for pair in pairs]
    assert TASK.inputs(frame(*records)) == pairs
    assert frame(*records).select(TASK.labelled()).to_series().all()


def test_a_record_holds_both_texts() -> None:
    found = TASK.record('["怎么退款","退款流程"]', " 1 ")
    assert found == {
        "text": "怎么退款\n退款流程",
        "label": "1",
        "spans": [
            {"start": 0, "end": 4, "label": "first"},
            {"start": 5, "end": 9, "label": "second"},
        ],
    }
    given = frame(found)
    assert TASK.truth(given) == ["1"]
    assert TASK.labels(given) == {"1": 1}
    assert given.select(TASK.stratum()).item() == "1"


@pytest.mark.parametrize(
    "spans",
    [
        None,
        [],
        [{"start": 0, "end": 1, "label": "first"}],
        [{"start": 0, "end": 1, "label": "first"}, {"start": 1, "end": 2, "label": "PER"}],
        [{"start": 0, "end": 1, "label": role} for role in ("first", "second", "second")],
    ],
)
def test_a_record_without_two_texts_is_not_labelled_and_no_pair(spans: object) -> None:
    good = TASK.record('["a","b"]', "1")
    given = frame({"id": "0" * 16, **good}, {"id": "f" * 16, **good, "spans": spans})
    assert given.select(TASK.labelled()).to_series().to_list() == [True, False]
    with pytest.raises(NotAPair, match=r"record f{16} is no pair"):
        TASK.inputs(given)


@pytest.mark.parametrize("written", ["", "text", "{}", "3", '["a"]', '["a",1]', '["a","b","c"]'])
def test_what_is_no_pair_is_refused(written: str) -> None:
    with pytest.raises(BadAnswer, match="two texts"):
        TASK.record(written, "1")


def test_an_empty_correction_is_refused() -> None:
    with pytest.raises(BadAnswer, match="a label is wanted"):
        TASK.record('["a","b"]', " ")


def test_similarity_is_the_probability_of_the_positive_label() -> None:
    pairs = [("a", "b"), ("a", "。"), ("zz", "yy")]
    model = Fixed([0.75, 0.25], [0.5, 0.5], [np.nan, np.nan])
    found, empty, unknown = TASK.answers(model, pairs)
    assert found == Pair("0", 0.75, {"0": 0.75, "1": 0.25}, 0.25)
    assert found.written == "0"
    assert empty == Pair(None, 0.0, {"0": 0.5, "1": 0.5}, 0.5, "empty")
    assert unknown.reason == "unknown"
    (turned,) = Match(same="0").answers(Fixed([0.75, 0.25]), pairs[:1])
    assert turned.similarity == 0.75


def test_a_label_that_nobody_gave_cannot_mean_the_same() -> None:
    with pytest.raises(NoSuchLabel, match="No pair is labelled 'yes'; the labels are: 0, 1"):
        Match(same="yes").positive(("0", "1"))
    assert TASK.positive(("0", "1")) == "1"
    assert TASK.trivial(["0", "1", "0"]) == "0"


def test_how_it_is_named_and_what_it_is_warmed_up_with() -> None:
    assert TASK.named() == "match"
    assert Match(same="yes").named() == {"use": "match", "same": "yes"}
    assert isinstance(TASK.example, tuple)
