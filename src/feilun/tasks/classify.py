"""Classify: one label out of several for a text, or any number of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from feilun.core.i18n import _
from feilun.tasks import metrics
from feilun.tasks.counted import Counted
from feilun.tasks.task import EMPTY, UNKNOWN, Answer, BadAnswer, Input, Scorer, contentless

if TYPE_CHECKING:
    import polars as pl

LABEL_SEPARATOR = "|"
"""Between the labels of a text that has several; no label contains it."""
THRESHOLD = 0.5
"""The probability from which on one of several labels holds."""


class Prediction(NamedTuple):
    """`label` with its probability `score` (0 without one); `scores` sum to 1."""

    label: str | None
    score: float
    scores: dict[str, float]
    reason: str | None = None

    @property
    def written(self) -> str | None:
        """The label."""
        return self.label


class Labels(NamedTuple):
    """Every label that holds, sorted; `scores` are probabilities of their own, and an answer is
    each label of at least `THRESHOLD`.

    `score` is the probability that all of these decisions are right, were they independent: the
    product over the labels of what each was decided with (0 without an answer). It is what
    `accuracy` counts, the share of texts whose labels are all right.
    """

    labels: tuple[str, ...]
    score: float
    scores: dict[str, float]
    reason: str | None = None

    @property
    def written(self) -> str | None:
        """The labels, joined by `LABEL_SEPARATOR`; the empty text when none holds."""
        return LABEL_SEPARATOR.join(self.labels) if self.reason is None else None


class Classify(Counted):
    """A record is a text and, for training, its label, or with `multiple` its labels.

    Loss: the negative log-likelihood of the true label; with `multiple` the sum of that of each
    label's being there or not. Metrics: `accuracy` (the share of texts answered wholly right),
    `macro_f1` (the mean F1 of the labels) and, with `multiple`, `micro_f1` (the F1 of all
    decisions together). A text without an answer counts as answered wrong.
    """

    use: ClassVar[str] = "classify"

    multiple: bool = Field(
        False, description="a text may have several labels, or none; `label` joins them by |"
    )

    @property
    def counting(self) -> metrics.Counting:
        return _MULTIPLE if self.multiple else SINGLE

    def labelled(self) -> pl.Expr:
        import polars as pl

        return pl.col("label").is_not_null()

    def stratum(self) -> pl.Expr:
        """The label; sets of labels have no parts, for most occur once or twice."""
        import polars as pl

        return pl.lit("") if self.multiple else pl.col("label")

    def labels(self, frame: pl.DataFrame) -> Counter[str]:
        found = Counter(frame["label"].drop_nulls().to_list())
        if not self.multiple:
            return found
        each: Counter[str] = Counter()
        for written, count in found.items():
            each.update(dict.fromkeys(several(written), count))
        return each

    def inputs(self, frame: pl.DataFrame) -> Sequence[Input]:
        return frame["text"].to_list()

    def truth(self, frame: pl.DataFrame) -> list[str]:
        rows: list[str] = frame["label"].to_list()
        if not self.multiple:
            return rows
        canonical = {row: LABEL_SEPARATOR.join(several(row)) for row in set(rows)}
        return [canonical[row] for row in rows]

    def record(self, written_input: str, written: str) -> dict[str, Any]:
        label = LABEL_SEPARATOR.join(several(written)) if self.multiple else written.strip()
        if not label and not self.multiple:
            raise BadAnswer(self.use, written, _("a label is wanted"))
        return {"text": written_input, "label": label, "spans": None}

    def counted(self, written: str) -> list[str]:
        return several(written) if self.multiple else [written]

    def answers(self, model: Scorer, inputs: Sequence[Input]) -> list[Answer]:
        scores, labels = model.scores(inputs), model.labels
        best = scores.argmax(axis=1).tolist() if len(labels) else [0] * len(inputs)
        sure = self._sure(scores)
        found: list[Answer] = []
        for text, row, at, whole in zip(inputs, scores.tolist(), best, sure, strict=True):
            reason = why_unanswered((str(text),), row)
            if reason is not None:
                even = 0.5 if self.multiple else 1.0 / max(len(labels), 1)
                shown = dict.fromkeys(labels, even)
                none = Labels((), 0.0, shown, reason)
                found.append(none if self.multiple else Prediction(None, 0.0, shown, reason))
                continue
            shown = dict(zip(labels, row, strict=True))
            if self.multiple:
                held = tuple(sorted(label for label, p in shown.items() if p >= THRESHOLD))
                found.append(Labels(held, whole, shown))
            else:
                found.append(Prediction(labels[at], row[at], shown))
        return found

    def _sure(self, scores: np.ndarray) -> list[float]:
        """The probability that all labels of a text are right; 0 where there is one to a text."""
        if not self.multiple:
            return [0.0] * len(scores)
        each = np.where(scores >= THRESHOLD, scores, 1 - scores)
        whole: list[float] = each.prod(axis=1, dtype=np.float64).tolist()
        return whole

    def trivial(self, truth: Sequence[str]) -> str:
        """The commonest label (of equals the last in sorted order); with `multiple` the labels
        that have the best `micro_f1` when they are answered to every text."""
        if not self.multiple:
            return commonest(truth)
        counts = Counter(label for written in truth for label in several(written))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        right, total = np.cumsum([0, *(count for _label, count in ranked)]), counts.total()
        # Of all sets of a size, the commonest labels get most right.
        answered = len(truth) * np.arange(len(right))
        size = int(np.argmax(2 * right / np.maximum(answered + total, 1)))
        return LABEL_SEPARATOR.join(sorted(label for label, _count in ranked[:size]))


def several(written: str) -> list[str]:
    """The labels in `a|b`, each once, sorted; none in the empty text."""
    return sorted({part.strip() for part in written.split(LABEL_SEPARATOR)} - {""})


def commonest(truth: Sequence[str]) -> str:
    """The label that occurs most often; of equals the last in sorted order."""
    return max(Counter(truth).items(), key=lambda item: (item[1], item[0]))[0]


def why_unanswered(texts: Sequence[str], row: Sequence[float]) -> str | None:
    """Why there is no answer (`Answer.reason`) to texts with such a row of figures; None where
    there is one."""
    if any(map(contentless, texts)):
        return EMPTY
    return UNKNOWN if row and row[0] != row[0] else None


def _items(written: str) -> Collection[metrics.Item]:
    return [(label, None) for label in several(written)]


SINGLE = metrics.Counting(
    {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}, exclusive=True
)
_MULTIPLE = metrics.Counting(
    {
        "micro_f1": metrics.micro_f1,
        "macro_f1": metrics.macro_f1,
        "accuracy": metrics.accuracy,
    },
    read=_items,
)
