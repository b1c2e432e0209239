"""Metrics that count: labels, sets of labels, entities; each with a bootstrap interval, and the
paired bootstrap of two models.

An answer is a set of things (a label; an entity where it stands). Everything here is a function
of five sums over the records, so a resample needs no pass over what was answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from feilun.core.artifacts import Gain, Interval
from feilun.core.i18n import N_
from feilun.tasks.bootstrap import interval, sums
from feilun.tasks.task import Evaluation

METRIC_NAMES = {
    "accuracy": N_("accuracy"),
    "macro_f1": N_("macro_f1"),
    "micro_f1": N_("micro_f1"),
    "f1": N_("f1"),
    "precision": N_("precision"),
    "recall": N_("recall"),
    "mae": N_("mae"),
    "rmse": N_("rmse"),
    "r2": N_("r2"),
    "spearman": N_("spearman"),
    "calibration_error": N_("calibration_error"),
}
"""The metrics' names as messages, so that every language has its own."""

ERRORS = frozenset({"mae", "rmse", "calibration_error"})
"""Metrics of which less is better."""

Item = tuple[str, object]
"""One thing in an answer: its label, and where it stands."""


class Tally(NamedTuple):
    """Sums over records. `right`, `true` and `answered` `[..., labels]`: things that are in the
    truth and in the answer, in the truth, in the answer. `whole` `[...]`: records whose whole
    answer is right; `records` `[...]`: all."""

    labels: tuple[str, ...]
    right: np.ndarray
    true: np.ndarray
    answered: np.ndarray
    whole: np.ndarray
    records: np.ndarray


Figure = Callable[[Tally], np.ndarray]


def accuracy(tally: Tally) -> np.ndarray:
    """The share of records whose whole answer is right, in [0, 1]."""
    return _share(tally.whole, tally.records)


def precision(tally: Tally) -> np.ndarray:
    """Per label `[..., label]`: right answers / answers with that label; 0 when never given."""
    return _share(tally.right, tally.answered)


def recall(tally: Tally) -> np.ndarray:
    """Per label `[..., label]`: right answers / truths with that label; 0 when there are none."""
    return _share(tally.right, tally.true)


def f1(tally: Tally) -> np.ndarray:
    """Per label: the harmonic mean of precision and recall."""
    return _share(2 * tally.right, tally.true + tally.answered)


def macro_f1(tally: Tally) -> np.ndarray:
    """The mean of `f1` over the labels that occur as truth or answer."""
    return _share(f1(tally).sum(axis=-1), (tally.true + tally.answered > 0).sum(axis=-1))


def micro_precision(tally: Tally) -> np.ndarray:
    """Right things / answered things, whatever their label."""
    return _share(tally.right.sum(axis=-1), tally.answered.sum(axis=-1))


def micro_recall(tally: Tally) -> np.ndarray:
    """Right things / true things, whatever their label."""
    return _share(tally.right.sum(axis=-1), tally.true.sum(axis=-1))


def micro_f1(tally: Tally) -> np.ndarray:
    """The harmonic mean of `micro_precision` and `micro_recall`."""
    both = tally.true.sum(axis=-1) + tally.answered.sum(axis=-1)
    return _share(2 * tally.right.sum(axis=-1), both)


def f1_of(label: str) -> Figure:
    """`f1` of one label; 0 where it occurs nowhere."""

    def figure(tally: Tally) -> np.ndarray:
        if label not in tally.labels:
            return np.zeros_like(tally.records)
        return f1(tally)[..., tally.labels.index(label)]

    return figure


def one_label(written: str) -> Collection[Item]:
    """The answer of a task whose labels exclude each other: its label."""
    return ((written, None),)


class Counting(NamedTuple):
    """How the answers of a task are measured: `figures` by the metrics' names; `read` says what
    is in a written answer, each thing once (none in None); `exclusive`: one label per record.

    A label that is none of those known is a label like any other: an answer with it is wrong
    where the truth is another, and a truth with it is missed.
    """

    figures: Mapping[str, Figure]
    read: Callable[[str], Collection[Item]] = one_label
    exclusive: bool = False

    def evaluate(
        self,
        truth: Sequence[str],
        answers: Sequence[str | None],
        labels: Sequence[str],
        *,
        seed: int,
        confidence: float,
    ) -> Evaluation:
        """Every figure with its interval; per label precision, recall and F1, first of `labels`,
        then of others that occur. Memory: 24 bytes per label and distinct pair of truth and
        answer."""
        pairs = Counter(zip(truth, answers, strict=True))
        shown, rows = self._rows(list(pairs), labels)
        found = _tally(shown, sums(rows, _counts(pairs.values()), seed))
        per_label: dict[str, dict[str, Interval]] = {label: {} for label in shown}
        for name, figure in {"precision": precision, "recall": recall, "f1": f1}.items():
            values = figure(found)
            for at, label in enumerate(shown):
                per_label[label][name] = interval(values[:, at], confidence)
        return Evaluation(
            {name: interval(figure(found), confidence) for name, figure in self.figures.items()},
            per_label,
            _confusion(pairs, shown) if self.exclusive else {},
        )

    def gain(
        self,
        truth: Sequence[str],
        candidate: Sequence[str | None],
        other: Sequence[str | None],
        *,
        metric: str,
        against: str,
        seed: int,
        confidence: float,
    ) -> Gain:
        """`candidate`'s lead over `other` in `metric` on the same records, from a paired bootstrap:
        both answers to a record are drawn together, so what is hard for both cancels out."""
        triples = Counter(zip(truth, candidate, other, strict=True))
        answers = [[(t, pair[at]) for t, *pair in triples] for at in (0, 1)]
        shown, rows = self._rows([*answers[0], *answers[1]], ())
        both = sums(np.hstack(np.split(rows, 2)), _counts(triples.values()), seed)
        one, two = (self.figures[metric](_tally(shown, half)) for half in np.split(both, 2, axis=1))
        delta, low, high = interval(one - two, confidence)
        return Gain(metric=metric, against=against, delta=delta, low=low, high=high)

    def tally(self, truth: Sequence[str], answers: Sequence[str | None]) -> Tally:
        """The sums over all records, as observed."""
        shown, rows = self._rows(list(zip(truth, answers, strict=True)), ())
        return _tally(shown, rows.sum(axis=0))

    def _rows(
        self, pairs: Sequence[tuple[str, str | None]], labels: Sequence[str]
    ) -> tuple[tuple[str, ...], np.ndarray]:
        """The labels (`labels`, then others in their order) and the sums of each pair."""
        read = cache(lambda written: frozenset(self.read(written)))
        nothing: frozenset[Item] = frozenset()
        sets = [(read(t), nothing if a is None else read(a)) for t, a in pairs]
        others = {label for pair in sets for items in pair for label, _where in items}
        shown = (*labels, *sorted(others.difference(labels)))
        column = {label: at for at, label in enumerate(shown)}
        size = len(shown)
        rows = np.zeros((len(pairs), 3 * size + 2))
        for row, (true, answered), (_t, written) in zip(rows, sets, pairs, strict=True):
            for start, items in enumerate((true & answered, true, answered)):
                for label, _where in items:
                    row[start * size + column[label]] += 1
            row[-2] = written is not None and true == answered
            row[-1] = 1
        return shown, rows


def _counts(outcomes: Collection[int]) -> np.ndarray:
    return np.fromiter(outcomes, dtype=np.int64, count=len(outcomes))


def _tally(labels: tuple[str, ...], found: np.ndarray) -> Tally:
    size = len(labels)
    right, true, answered = (found[..., at * size : (at + 1) * size] for at in range(3))
    return Tally(labels, right, true, answered, found[..., -2], found[..., -1])


def _confusion(
    pairs: Counter[tuple[str, str | None]], labels: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Answers by truth, both in the order of `labels`; no answer is the empty text, the last."""
    place = {label: at for at, label in enumerate(labels)}
    table: dict[str, dict[str, int]] = {}
    for (true, answer), count in sorted(
        pairs.items(), key=lambda item: (place[item[0][0]], place.get(item[0][1] or "", len(place)))
    ):
        table.setdefault(true, {})[answer or ""] = count
    return table


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
    return result
