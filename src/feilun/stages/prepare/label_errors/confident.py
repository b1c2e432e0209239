"""Confident learning: which labels are probably wrong, from probabilities of models that have
not seen the record.

Northcutt, Jiang, Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70
(2021). A class's threshold is the mean probability of the class among the records that bear its
label. A record counts as confidently of the most probable class among those that reach their
threshold; the counts of (label, confident class) are the confident joint.

Suspects are ranked by how far the suggested class is above its threshold and the label below its
own. Without the thresholds, where only one label is flipped, the plain margin ranks the honest
doubts about the other label among them (average precision .33 instead of .54 with 20 % of one
side flipped; the same where both sides are: benchmarks/label_errors.py).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

Prune = Literal["confident", "noise_rate", "class", "both"]


class Doubts(NamedTuple):
    """Of the records whose most probable class is not their label: `row` (within what was
    judged), `given` and `suggested` classes (int32), their probabilities `own` and `confidence`,
    the adjusted margin `doubt` between them (float32), and whether the suggestion is the
    `confident` class."""

    row: np.ndarray
    given: np.ndarray
    suggested: np.ndarray
    own: np.ndarray
    confidence: np.ndarray
    doubt: np.ndarray
    confident: np.ndarray


def thresholds(chances: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The mean of each class's probability among the records with its label, `[classes]`, from
    `chances` `[records, classes]` and the labels' class numbers; every class has a record."""
    own = chances[np.arange(len(given)), given]
    num_classes = chances.shape[1]
    sums = np.bincount(given, weights=own, minlength=num_classes)
    result: np.ndarray = sums / np.bincount(given, minlength=num_classes)
    return result


def doubted(chances: np.ndarray, given: np.ndarray, least: np.ndarray) -> tuple[Doubts, np.ndarray]:
    """The doubts, and the counts `[label, confident class]` of all records; `least` are the
    `thresholds`, maybe of other records."""
    rows, num_classes = np.arange(len(given)), chances.shape[1]
    reached = chances >= least
    sure = np.where(reached, chances, -1.0).argmax(axis=1)
    has_sure = reached.any(axis=1)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts, (given[has_sure], sure[has_sure]), 1)
    own = chances[rows, given]
    others = chances.copy()
    others[rows, given] = -1.0
    top = others.argmax(axis=1)
    at = np.flatnonzero(others[rows, top] > own)
    confident = (has_sure & (sure != given))[at]
    suggested = np.where(confident, sure[at], top[at])
    confidence = chances[at, suggested]
    doubt = (confidence - least[suggested]) - (own[at] - least[given[at]])
    return Doubts(
        at, given[at].astype(np.int32), suggested.astype(np.int32), own[at].astype(np.float32),
        confidence.astype(np.float32), doubt.astype(np.float32), confident,
    ), counts  # fmt: skip


def joint(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """The confident joint calibrated: the estimated number of records with label i that are of
    class j, `[i, j]`; each row sums to the label's `totals`."""
    scale = totals / np.maximum(counts.sum(axis=1), 1)
    result: np.ndarray = counts * scale[:, None]
    return result


def pruned(doubts: Doubts, expected: np.ndarray, prune: Prune) -> np.ndarray:
    """Which of `doubts` are suspects; `expected` is the calibrated `joint`.

    `confident`: those off the diagonal of the confident joint. `noise_rate`: of each label i and
    class j as many as are expected, those with the largest margin. `class`: of each label as
    many as are expected to be of any other class, those whose label is least probable. `both`:
    what the last two have in common. Never a record whose label is its most probable class.
    """
    if prune == "confident":
        return doubts.confident
    wrong = expected - np.diag(np.diag(expected))
    cells = doubts.given.astype(np.int64) * len(expected) + doubts.suggested
    margin = doubts.confidence - doubts.own
    by_rate = _first(cells, -margin, np.rint(wrong).astype(np.int64).ravel())
    by_class = _first(doubts.given, doubts.own, np.rint(wrong.sum(axis=1)).astype(np.int64))
    if prune == "class":
        return by_class
    both: np.ndarray = by_rate & by_class
    return by_rate if prune == "noise_rate" else both


def first_by_doubt(doubts: Doubts, suspects: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Of the `suspects` of each label the ones with the largest doubt (a mask), at most
    `most[label]` of them: where equals would go beyond, none of them is in."""
    order = np.where(suspects, -doubts.doubt, np.float32(np.inf))
    fitting: np.ndarray = suspects & _first(doubts.given, order, most, beyond=False)
    return fitting


def _first(
    group: np.ndarray, value: np.ndarray, most: np.ndarray, *, beyond: bool = True
) -> np.ndarray:
    """Which rows are among the `most[group]` lowest of their group. Equals are in or out
    together, so that it does not matter who came first: in, even `beyond` that number."""
    chosen = np.zeros(len(group), dtype=bool)
    order = np.lexsort((value, group))
    ordered = group[order]
    starts = np.searchsorted(ordered, np.arange(len(most)))
    ends = np.searchsorted(ordered, np.arange(len(most)), side="right")
    for number in np.flatnonzero((most > 0) & (ends > starts)):
        rows = order[starts[number] : ends[number]]
        fitting = min(int(most[number]), len(rows))
        if beyond or fitting == len(rows):
            chosen[rows] = value[rows] <= value[rows[fitting - 1]]
        else:
            chosen[rows] = value[rows] < value[rows[fitting]]
    return chosen
