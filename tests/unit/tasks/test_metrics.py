"""Metrics against scikit-learn's, and intervals that cover what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from feilun.tasks.metrics import (
    accuracy,
    confusion,
    evaluate,
    f1,
    gain,
    macro_f1,
    precision,
    recall,
)

LABELS = ("a", "b", "c", "d")
PAIRS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.none() | st.sampled_from(LABELS)), min_size=1, max_size=30
)


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_every_metric_is_scikit_learns(pairs: list[tuple[str, str | None]]) -> None:
    """None counts as a wrong answer: for scikit-learn, a label that no record has."""
    truth, predicted = [t for t, _p in pairs], [p for _t, p in pairs]
    told = [p or "no answer" for p in predicted]
    counts = confusion(truth, predicted, LABELS)
    occurring = sorted({*truth, *told} - {"no answer"})
    by_label = {"labels": list(LABELS), "average": None, "zero_division": 0}
    assert accuracy(counts) == pytest.approx(sk.accuracy_score(truth, told))
    assert precision(counts) == pytest.approx(sk.precision_score(truth, told, **by_label))
    assert recall(counts) == pytest.approx(sk.recall_score(truth, told, **by_label))
    assert f1(counts) == pytest.approx(sk.f1_score(truth, told, **by_label))
    wanted = sk.f1_score(truth, told, labels=occurring, average="macro", zero_division=0)
    assert macro_f1(counts) == pytest.approx(wanted)


@settings(max_examples=30, deadline=None)
@given(PAIRS)
def test_a_value_lies_in_its_interval_and_the_interval_in_0_to_1(
    pairs: list[tuple[str, str | None]],
) -> None:
    found = evaluate([t for t, _p in pairs], [p for _t, p in pairs], LABELS, seed=1)
    figures = [
        *found.metrics.values(),
        *(i for by in found.per_label.values() for i in by.values()),
    ]
    for figure in figures:
        assert 0 <= figure.low <= figure.high <= 1
    value = found.metrics["accuracy"]
    assert value.low <= value.value <= value.high
    assert sum(sum(row.values()) for row in found.confusion.values()) == len(pairs)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    truth, predicted = list("aabbccdd") * 9, list("aabbccda") * 9
    one = evaluate(truth, predicted, LABELS, seed=1)
    assert evaluate(truth, predicted, LABELS, seed=1) == one
    assert evaluate(truth, predicted, LABELS, seed=2).metrics != one.metrics


def test_an_unknown_label_is_a_wrong_answer() -> None:
    counts = confusion(["a", "b"], ["zzz", "b"], ("a", "b"))
    assert counts.tolist() == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert accuracy(counts) == 0.5


def test_no_records_are_no_figures_and_no_crash() -> None:
    found = evaluate([], [], ("a", "b"), seed=1)
    assert found.metrics["accuracy"] == (0, 0, 0)
    assert found.confusion == {}


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    truth, predicted = list("ab") * 50, list("abaa") * 25
    wide = evaluate(truth, predicted, ("a", "b"), seed=1, confidence=0.99).metrics["accuracy"]
    narrow = evaluate(truth, predicted, ("a", "b"), seed=1, confidence=0.8).metrics["accuracy"]
    assert wide.low < narrow.low
    assert wide.high > narrow.high


def answers(random: np.random.Generator, truth: list[str], right: float) -> list[str]:
    wrong = {"a": "b", "b": "a"}
    return [t if random.random() < right else wrong[t] for t in truth]


def test_95_in_100_intervals_hold_the_true_accuracy() -> None:
    """200 samples of 150 records, true accuracy .8; ±4 standard errors of a share of .95."""
    random = np.random.default_rng(5)
    held = 0
    for _sample in range(200):
        truth = random.choice(["a", "b"], 150).tolist()
        found = evaluate(truth, answers(random, truth, 0.8), ("a", "b"), seed=3)
        held += found.metrics["accuracy"].low <= 0.8 <= found.metrics["accuracy"].high
    assert 0.88 <= held / 200 <= 0.995


def test_the_gain_of_equals_holds_0_about_95_times_in_100() -> None:
    random = np.random.default_rng(6)
    held = 0
    for _sample in range(200):
        truth = random.choice(["a", "b"], 150).tolist()
        pair = [answers(random, truth, 0.8) for _model in range(2)]
        found = gain(truth, *pair, metric="accuracy", against="live", seed=3)
        held += found.low <= 0 <= found.high
    assert 0.88 <= held / 200 <= 0.995


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_planted_gain_excludes_0_and_a_tie_does_not(metric: str) -> None:
    random = np.random.default_rng(7)
    truth = random.choice(["a", "b"], 400).tolist()
    worse = answers(random, truth, 0.75)
    better = [
        t if p != t and random.random() < 0.5 else p for t, p in zip(truth, worse, strict=True)
    ]

    def lead(candidate: list[str], other: list[str]) -> tuple[float, float, float]:
        found = gain(truth, candidate, other, metric=metric, against="live", seed=1)
        return found.delta, found.low, found.high

    delta, low, high = lead(better, worse)
    assert 0 < low < delta < high
    assert lead(worse, better)[2] < 0
    assert lead(worse, worse) == (0, 0, 0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(LABELS),
            st.none() | st.sampled_from(LABELS),
            st.none() | st.sampled_from((*LABELS, "unseen")),
        ),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(["accuracy", "macro_f1"]),
)
def test_the_gain_is_the_difference_of_the_metrics_and_turns_its_sign(
    rows: list[tuple[str, str | None, str | None]], metric: str
) -> None:
    truth, one, two = (list(column) for column in zip(*rows, strict=True))
    figure = {"accuracy": accuracy, "macro_f1": macro_f1}[metric]
    labels = (*LABELS, "unseen")
    wanted = figure(confusion(truth, one, labels)) - figure(confusion(truth, two, labels))
    found = gain(truth, one, two, metric=metric, against="live", seed=1)
    back = gain(truth, two, one, metric=metric, against="live", seed=1)
    assert found.delta == pytest.approx(float(wanted))
    assert back.delta == pytest.approx(-found.delta)
    assert found.low <= found.high


def test_the_paired_interval_is_narrower_than_the_two_unpaired_ones() -> None:
    """What is hard for both cancels out: that is what pairing is for."""
    random = np.random.default_rng(8)
    truth = random.choice(["a", "b"], 300).tolist()
    one = answers(random, truth, 0.7)
    two = list(one)
    for at in range(0, 300, 30):
        two[at] = truth[at]
    paired = gain(truth, two, one, metric="accuracy", against="live", seed=1)
    alone = evaluate(truth, one, ("a", "b"), seed=1).metrics["accuracy"]
    assert paired.high - paired.low < (alone.high - alone.low) / 2
