"""Metrics against scikit-learn's and seqeval's, and intervals that cover what they promise."""

from __future__ import annotations

import warnings
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import sequence_labeling as seqeval
from sklearn import metrics as sk
from sklearn.preprocessing import MultiLabelBinarizer

from feilun.core.artifacts import Interval
from feilun.tasks import ERRORS, METRIC_NAMES, Classify, Match, Regress, Tag, Task, spans
from feilun.tasks.classify import SINGLE
from feilun.tasks.metrics import accuracy, f1, macro_f1, precision, recall

LABELS = ("a", "b", "c", "d")
ONE, SEVERAL, TAG = Classify(), Classify(multiple=True), Tag()
PAIRS = st.lists(
    st.tuples(st.sampled_from(LABELS), st.none() | st.sampled_from(LABELS)), min_size=1, max_size=30
)
SETS = st.sets(st.sampled_from(LABELS)).map(lambda labels: "|".join(sorted(labels)))
TAGS = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), min_size=6, max_size=6)


def columns(rows: list[tuple[str, str | None]]) -> tuple[list[str], list[str | None]]:
    return [t for t, _p in rows], [p for _t, p in rows]


def values(found: dict[str, Interval]) -> dict[str, float]:
    return {name: figure.value for name, figure in found.items()}


@settings(max_examples=100, deadline=None)
@given(PAIRS)
def test_the_metrics_of_labels_are_scikit_learns(pairs: list[tuple[str, str | None]]) -> None:
    """None counts as a wrong answer: for scikit-learn, a label that no record has."""
    truth, answers = columns(pairs)
    told = [p or "no answer" for p in answers]
    tally = SINGLE.tally(truth, answers)
    by_label = {"labels": list(tally.labels), "average": None, "zero_division": 0}
    assert accuracy(tally) == pytest.approx(sk.accuracy_score(truth, told))
    assert precision(tally) == pytest.approx(sk.precision_score(truth, told, **by_label))
    assert recall(tally) == pytest.approx(sk.recall_score(truth, told, **by_label))
    assert f1(tally) == pytest.approx(sk.f1_score(truth, told, **by_label))
    occurring = sorted({*truth, *told} - {"no answer"})
    wanted = sk.f1_score(truth, told, labels=occurring, average="macro", zero_division=0)
    assert macro_f1(tally) == pytest.approx(wanted)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SETS, SETS), min_size=1, max_size=20))
def test_the_metrics_of_sets_of_labels_are_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    truth, answers = columns(pairs)
    found = SEVERAL.evaluate(truth, answers, LABELS, seed=1)
    binary = MultiLabelBinarizer(classes=LABELS)
    t, a = (binary.fit_transform([set(filter(None, w.split("|"))) for w in side])
            for side in (truth, [str(p) for p in answers]))  # fmt: skip
    assert found.metrics["accuracy"].value == pytest.approx(sk.accuracy_score(t, a))
    wanted = sk.f1_score(t, a, average="micro", zero_division=0)
    assert found.metrics["micro_f1"].value == pytest.approx(wanted)
    occurring = np.flatnonzero((t + a).any(axis=0))
    if len(occurring):
        wanted = sk.f1_score(t, a, labels=occurring, average="macro", zero_division=0)
        assert found.metrics["macro_f1"].value == pytest.approx(wanted)
    for at, label in enumerate(LABELS):
        p, r, f, _n = sk.precision_recall_fscore_support(
            t[:, at], a[:, at], pos_label=1, average="binary", zero_division=0
        )
        assert values(found.per_label[label]) == pytest.approx(
            {"precision": p, "recall": r, "f1": f}
        )


def entities(tags: list[str]) -> str:
    found = seqeval.get_entities(tags)
    return spans.written([(start, end + 1, label) for label, start, end in found])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=12))
def test_the_metrics_of_entities_are_seqevals(pairs: list[tuple[list[str], list[str]]]) -> None:
    t, a = [list(row) for row in zip(*pairs, strict=True)]
    found = TAG.evaluate(list(map(entities, t)), list(map(entities, a)), ("LOC", "PER"), seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        micro = seqeval.precision_recall_fscore_support(t, a, average="micro", zero_division=0)[:3]
        macro = seqeval.precision_recall_fscore_support(t, a, average="macro", zero_division=0)[2]
        each = seqeval.precision_recall_fscore_support(t, a, average=None, zero_division=0)
    wanted = dict(zip(("precision", "recall", "f1"), micro, strict=True))
    anything = any(tag != "O" for row in chain(t, a) for tag in row)
    assert values(found.metrics) == pytest.approx(
        {**wanted, "macro_f1": macro if anything else 0.0}
    )
    names = sorted({tag[2:] for row in chain(t, a) for tag in row if tag != "O"})
    for name, p, r, f in zip(names, *each[:3], strict=True):
        assert values(found.per_label[name]) == pytest.approx(
            {"precision": p, "recall": r, "f1": f}
        )


def test_entities_by_hand() -> None:
    """Of three true entities one is found as it is, one with another end, one not; a fourth is
    made up."""
    truth = ['[[0,2,"PER"],[5,7,"LOC"]]', '[[1,3,"PER"]]', "[]"]
    answers = ['[[0,2,"PER"],[5,8,"LOC"]]', None, '[[0,1,"LOC"]]']
    found = TAG.evaluate(truth, answers, ("LOC", "PER", "ORG"), seed=1)
    assert values(found.metrics) == pytest.approx(
        {"precision": 1 / 3, "recall": 1 / 3, "f1": 1 / 3, "macro_f1": (0 + 2 / 3) / 2}
    )
    assert values(found.per_label["PER"]) == pytest.approx(
        {"precision": 1, "recall": 1 / 2, "f1": 2 / 3}
    )
    assert found.per_label["ORG"]["f1"] == (0, 0, 0)
    assert found.confusion == {}


def test_the_f1_of_match_is_that_of_the_label_that_means_the_same() -> None:
    truth, answers = list("0011"), ["0", "1", "1", None]
    found = Match().evaluate(truth, answers, ("0", "1"), seed=1).metrics
    assert values(found) == pytest.approx({"accuracy": 1 / 2, "f1": 1 / 2, "macro_f1": 7 / 12})
    other = Match(same="0").evaluate(truth, answers, ("0", "1"), seed=1).metrics
    assert other["f1"].value == pytest.approx(2 / 3)
    assert Match().evaluate([], [], (), seed=1).metrics["f1"] == (0, 0, 0)


@settings(max_examples=25, deadline=None)
@given(PAIRS)
def test_a_value_lies_in_its_interval_and_the_interval_in_0_to_1(
    pairs: list[tuple[str, str | None]],
) -> None:
    for task in (ONE, SEVERAL, Match()):
        found = task.evaluate(*columns(pairs), LABELS, seed=1)
        every = chain(found.metrics.values(), *(by.values() for by in found.per_label.values()))
        for figure in every:
            assert 0 <= figure.low <= figure.value <= figure.high <= 1
    found = ONE.evaluate(*columns(pairs), LABELS, seed=1)
    assert sum(sum(row.values()) for row in found.confusion.values()) == len(pairs)


TASKS: list[tuple[Task, list[str]]] = [
    (ONE, list("abcd")),
    (SEVERAL, ["a", "a|b", "", "c|d"]),
    (TAG, ['[[0,2,"a"]]', "[]", '[[1,2,"b"],[3,5,"a"]]', '[[0,1,"b"]]']),
    (Match(), list("0110")),
    (Regress(), ["1", "2.5", "-3", "1e3"]),
]


@pytest.mark.parametrize(("task", "truth"), TASKS, ids=range(5))
def test_what_holds_for_every_task(task: Task, truth: list[str]) -> None:
    labels = sorted({label for written in truth for label in task.counted(written)})
    found = task.evaluate(truth * 5, list(truth) * 5, labels, seed=1)
    assert tuple(found.metrics) == task.metrics
    assert set(task.metrics) <= set(METRIC_NAMES)
    for name, figure in found.metrics.items():
        best = 0 if name in ERRORS else 1
        assert figure.value == pytest.approx(best)
    other = [truth[2], None, *truth[2:]] * 5
    there, back = truth * 5, (truth * 5)[::-1]
    for name in task.metrics:
        tie = task.gain(there, other, other, metric=name, against="live", seed=1)
        assert (tie.delta, tie.low, tie.high) == (0, 0, 0)
        lead = task.gain(there, there, other, metric=name, against="live", seed=1)
        loss = task.gain(there, other, there, metric=name, against="live", seed=1)
        assert lead.delta > 0
        assert loss.delta == pytest.approx(-lead.delta)
        assert lead.low <= lead.delta <= lead.high
        told = task.evaluate(there, other, labels, seed=1).metrics[name].value
        turned = task.evaluate(back, other[::-1], labels, seed=1).metrics[name].value
        assert turned == pytest.approx(told)
        right = task.evaluate(there, there, labels, seed=1).metrics[name].value
        assert lead.delta == pytest.approx(abs(right - told))
    assert task.evaluate([], [], labels, seed=1).metrics[task.metrics[0]] == (0, 0, 0)
    empty = task.gain([], [], [], metric=task.metrics[0], against="live", seed=1)
    assert empty.delta == empty.low == empty.high == 0
    assert task.trivial(truth) is not None


@pytest.mark.parametrize("task", [ONE, SEVERAL, Match()], ids=["one", "several", "match"])
def test_an_unknown_label_is_a_wrong_answer_and_is_told(task: Task) -> None:
    found = task.evaluate(["a", "new"], ["zzz", "b"], ("a", "b"), seed=1)
    assert found.metrics["accuracy"].value == 0
    assert list(found.per_label) == ["a", "b", "new", "zzz"]
    if task is ONE:
        assert found.confusion == {"a": {"zzz": 1}, "new": {"b": 1}}


def test_an_unknown_type_is_a_wrong_entity() -> None:
    found = TAG.evaluate(['[[0,1,"a"]]'], ['[[0,1,"zzz"]]'], ("a",), seed=1)
    assert found.metrics["f1"].value == 0


def test_confusion_is_in_the_order_of_the_labels_and_no_answer_is_last() -> None:
    found = ONE.evaluate(list("bbaab"), ["a", None, "a", "b", "b"], ("b", "a"), seed=1)
    assert found.confusion == {"b": {"b": 1, "a": 1, "": 1}, "a": {"b": 1, "a": 1}}
    assert [list(row) for row in found.confusion.values()] == [["b", "a", ""], ["b", "a"]]


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    truth, answers = list("aabbccdd") * 9, list("aabbccda") * 9
    one = ONE.evaluate(truth, answers, LABELS, seed=1)
    assert ONE.evaluate(truth, answers, LABELS, seed=1) == one
    assert ONE.evaluate(truth, answers, LABELS, seed=2).metrics != one.metrics


def test_a_higher_confidence_gives_a_wider_interval() -> None:
    truth, answers = list("ab") * 50, list("abaa") * 25
    wide = ONE.evaluate(truth, answers, ("a", "b"), seed=1, confidence=0.99).metrics["accuracy"]
    narrow = ONE.evaluate(truth, answers, ("a", "b"), seed=1, confidence=0.8).metrics["accuracy"]
    assert wide.low < narrow.low
    assert wide.high > narrow.high


def answered(random: np.random.Generator, truth: list[str], right: float) -> list[str]:
    wrong = {"a": "b", "b": "a"}
    return [t if random.random() < right else wrong[t] for t in truth]


def test_95_in_100_intervals_hold_the_true_accuracy() -> None:
    """200 samples of 150 records, true accuracy .8; ±4 standard errors of a share of .95."""
    random = np.random.default_rng(5)
    held = 0
    for _sample in range(200):
        truth = random.choice(["a", "b"], 150).tolist()
        found = ONE.evaluate(truth, answered(random, truth, 0.8), ("a", "b"), seed=3)
        held += found.metrics["accuracy"].low <= 0.8 <= found.metrics["accuracy"].high
    assert 0.88 <= held / 200 <= 0.995


def test_the_gain_of_equals_holds_0_about_95_times_in_100() -> None:
    random = np.random.default_rng(6)
    held = 0
    for _sample in range(200):
        truth = random.choice(["a", "b"], 150).tolist()
        pair = [answered(random, truth, 0.8) for _model in range(2)]
        found = ONE.gain(truth, *pair, metric="accuracy", against="live", seed=3)
        held += found.low <= 0 <= found.high
    assert 0.88 <= held / 200 <= 0.995


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_a_planted_gain_excludes_0_and_a_tie_does_not(metric: str) -> None:
    random = np.random.default_rng(7)
    truth = random.choice(["a", "b"], 400).tolist()
    worse = answered(random, truth, 0.75)
    better = [
        t if p != t and random.random() < 0.5 else p for t, p in zip(truth, worse, strict=True)
    ]

    def lead(candidate: list[str], other: list[str]) -> tuple[float, float, float]:
        found = ONE.gain(truth, candidate, other, metric=metric, against="live", seed=1)
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
    st.sampled_from([(ONE, "accuracy"), (ONE, "macro_f1"), (SEVERAL, "micro_f1")]),
)
def test_the_gain_is_the_difference_of_the_metrics_and_turns_its_sign(
    rows: list[tuple[str, str | None, str | None]], asked: tuple[Task, str]
) -> None:
    task, metric = asked
    truth, one, two = (list(column) for column in zip(*rows, strict=True))
    first, second = (
        task.evaluate(truth, a, LABELS, seed=1).metrics[metric].value for a in (one, two)
    )
    found = task.gain(truth, one, two, metric=metric, against="live", seed=1)
    back = task.gain(truth, two, one, metric=metric, against="live", seed=1)
    assert found.delta == pytest.approx(first - second)
    assert back.delta == pytest.approx(-found.delta)
    assert found.low <= found.delta <= found.high


def test_the_paired_interval_is_narrower_than_the_two_unpaired_ones() -> None:
    """What is hard for both cancels out: that is what pairing is for."""
    random = np.random.default_rng(8)
    truth = random.choice(["a", "b"], 300).tolist()
    one = answered(random, truth, 0.7)
    two = list(one)
    for at in range(0, 300, 30):
        two[at] = truth[at]
    paired = ONE.gain(truth, two, one, metric="accuracy", against="live", seed=1)
    alone = ONE.evaluate(truth, one, ("a", "b"), seed=1).metrics["accuracy"]
    assert paired.high - paired.low < (alone.high - alone.low) / 2
