"""Classify: one label out of several for a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from feilun.tasks.task import EMPTY, UNKNOWN, Prediction, Task, contentless

if TYPE_CHECKING:
    import numpy as np


class Classify(Task):
    """A record is a text and, for training, one label; labels exclude each other.

    Loss: the negative log-likelihood of the true label. Metrics: `feilun.tasks.metrics`.
    """

    use: ClassVar[str] = "classify"

    def predictions(
        self, texts: Sequence[str], labels: Sequence[str], scores: np.ndarray
    ) -> list[Prediction]:
        best = scores.argmax(axis=1) if len(labels) else []
        even = 1.0 / max(len(labels), 1)
        answers = []
        for text, row, at in zip(texts, scores.tolist(), best, strict=True):
            reason = EMPTY if contentless(text) else UNKNOWN if row[0] != row[0] else None
            if reason is not None:
                answers.append(Prediction(None, 0.0, dict.fromkeys(labels, even), reason))
            else:
                shown = dict(zip(labels, row, strict=True))
                answers.append(Prediction(labels[at], row[at], shown))
        return answers
