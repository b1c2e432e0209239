"""What machines are to learn: which records are on the positive side of each margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from feilun.models.family import LabelUnknown, Lesson, NothingLabelled, NothingToLearn
from feilun.tasks.classify import several as labels_in

LEAST_WEIGHT = 1e-3
"""Of a record between whose labels the teacher cannot tell."""


class Goal(Protocol):
    """Any number of margins, each a question of yes or no to every record."""

    num_margins: int
    stratum: np.ndarray
    """int64 [records]: the folds spread each stratum evenly."""

    def positive(self, margin: int) -> np.ndarray:
        """Which records are on its positive side, bool [records]."""

    def weight(self, margin: int) -> np.ndarray | float:
        """What an error on each record weighs, [records], or on any."""


class Exclusive:
    """One class per record: `truth` (int64). A margin per class; of two classes, the second's."""

    def __init__(
        self, truth: np.ndarray, num_classes: int, weights: np.ndarray | float = 1.0
    ) -> None:
        self.truth, self.num_classes = truth, num_classes
        self.stratum = truth
        self.num_margins = num_classes if num_classes > 2 else 1
        self._weights = weights

    def positive(self, margin: int) -> np.ndarray:
        """The records of the margin's class."""
        result: np.ndarray = self.truth == (margin if self.num_margins > 1 else 1)
        return result

    def weight(self, margin: int) -> np.ndarray | float:
        """The same for every margin."""
        return self._weights


class Several:
    """Any number of labels per record: `held` (bool [records, labels]); a margin per label."""

    def __init__(self, held: np.ndarray, weights: np.ndarray | None = None) -> None:
        self.held = held
        self.num_margins = held.shape[1]
        # A record counts among those of its rarest label: of that, each fold needs its share.
        rarest = np.where(held, held.sum(axis=0), len(held) + 1)
        self.stratum = np.where(held.any(axis=1), rarest.argmin(axis=1), held.shape[1])
        self._weights = weights

    def positive(self, margin: int) -> np.ndarray:
        """The records that have the label."""
        column: np.ndarray = self.held[:, margin]
        return column

    def weight(self, margin: int) -> np.ndarray | float:
        """How sure the teacher is of this label, one way or the other."""
        return 1.0 if self._weights is None else self._weights[:, margin]


def exclusive(lesson: Lesson) -> Exclusive:
    """The record's label; where a teacher spoke, its likeliest, weighed by how far that is from
    a guess: (p - 1/n) / (1 - 1/n). Raises `NothingToLearn`,
    `NothingLabelled`, `LabelUnknown`."""
    labels, num = lesson.labels, len(lesson.labels)
    column = _labels(lesson)
    number = {label: i for i, label in enumerate(labels)}
    soft = _soft(lesson, num)
    spoken = np.zeros(len(column), dtype=bool) if soft is None else np.isfinite(soft).all(axis=1)
    truth = np.empty(len(column), dtype=np.int64)
    for i, label in enumerate(column):
        if label not in number and not spoken[i]:
            raise LabelUnknown(label, labels)
        truth[i] = number.get(label, 0) if label is not None else 0
    if soft is None:
        return Exclusive(truth, num)
    weights = np.ones(len(truth))
    sure = soft[spoken].astype(np.float64)
    truth[spoken] = sure.argmax(axis=1)
    weights[spoken] = (sure.max(axis=1) - 1 / num) / max(1 - 1 / num, 1e-9)
    return Exclusive(truth, num, np.maximum(weights, LEAST_WEIGHT))


def several(lesson: Lesson) -> Several:
    """The labels of each record, which its `label` joins by `|`; where a teacher spoke, those it
    gives one half or more, each weighed by |2 p - 1|. Raises as `exclusive`."""
    labels, num = lesson.labels, len(lesson.labels)
    column = _labels(lesson)
    number = {label: i for i, label in enumerate(labels)}
    held = np.zeros((len(column), num), dtype=bool)
    for i, written in enumerate(column):
        for label in labels_in(written or ""):
            if label not in number:
                raise LabelUnknown(label, labels)
            held[i, number[label]] = True
    soft = _soft(lesson, num)
    if soft is None:
        return Several(held)
    spoken = np.isfinite(soft).all(axis=1)
    weights = np.ones(held.shape)
    sure = soft[spoken].astype(np.float64)
    held[spoken] = sure >= 0.5
    weights[spoken] = np.abs(2 * sure - 1)
    return Several(held, np.maximum(weights, LEAST_WEIGHT))


def _labels(lesson: Lesson) -> Sequence[str | None]:
    column: list[str | None] = lesson.train["label"].to_list()
    if not column:
        raise NothingToLearn(0)
    silent = lesson.soft is None or not np.isfinite(lesson.soft).any()
    if not lesson.labels or (silent and lesson.train["label"].null_count() == len(column)):
        raise NothingLabelled(len(column))
    return column


def _soft(lesson: Lesson, num_columns: int) -> np.ndarray | None:
    """The teacher's figures, checked; None where there is no teacher."""
    if lesson.soft is None:
        return None
    wanted = (len(lesson.train), num_columns)
    if lesson.soft.shape != wanted:
        raise ValueError(f"the teacher's figures are {lesson.soft.shape}, not {wanted}")
    return lesson.soft
