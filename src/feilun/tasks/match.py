"""Match: whether two texts go together (mean the same, answer each other)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.tasks import metrics
from feilun.tasks.classify import commonest, why_unanswered
from feilun.tasks.counted import Counted
from feilun.tasks.task import Answer, BadAnswer, Input, OddInput, Scorer

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

ROLES = ("first", "second")
"""The labels of the two spans that are the texts of a pair."""


class NotAPair(Invalid):
    """A record does not hold two texts."""

    def __init__(self, record: str) -> None:
        super().__init__(
            _(
                "The record {record} is no pair: [project] task = 'match' needs one span 'first' "
                "and one span 'second' in its text."
            ).format(record=shortened(record)),
            remedy=_("Collect it from a source whose rows have two texts, then: feilun turn"),
        )


class NoSuchLabel(Invalid):
    """The setting `same` names no label that there is."""

    def __init__(self, same: str, labels: Sequence[str]) -> None:
        super().__init__(
            _("No pair is labelled '{same}'; the labels are: {labels}.").format(
                same=shortened(same), labels=shortened(", ".join(labels))
            ),
            remedy=f"[project] task = {{ use = 'match', same = '{max(labels, default='')}' }}",
        )


class Pair(NamedTuple):
    """`label` with its probability `score` (0 without one); `scores` sum to 1; `similarity` is
    the probability of the label that says «the same» (an even share without an answer)."""

    label: str | None
    score: float
    scores: dict[str, float]
    similarity: float
    reason: str | None = None

    @property
    def written(self) -> str | None:
        """The label."""
        return self.label


class Match(Counted):
    """A record is two texts, in `text` one below the other with a span on each, and, for
    training, one label.

    Loss: the negative log-likelihood of the true label. Metrics: `accuracy`, `f1` (of the label
    that means «the same») and `macro_f1` (the mean over the labels). A pair without an answer
    (one of the texts is empty, or nothing in them is known) counts as answered wrong.
    """

    use: ClassVar[str] = "match"

    same: str = Field(
        "", description="the label that means «the same»; left out: the last in sorted order"
    )

    @property
    def counting(self) -> metrics.Counting:
        figures: dict[str, metrics.Figure] = {
            "accuracy": metrics.accuracy,
            "f1": self._f1,
            "macro_f1": metrics.macro_f1,
        }
        return metrics.Counting(figures, exclusive=True)

    def _f1(self, tally: metrics.Tally) -> np.ndarray:
        return metrics.f1_of(self.same or max(tally.labels, default=""))(tally)

    def positive(self, labels: Sequence[str]) -> str:
        """The one of `labels` that means «the same»; raises `NoSuchLabel`."""
        if self.same and self.same not in labels:
            raise NoSuchLabel(self.same, labels)
        return self.same or max(labels, default="")

    def labelled(self) -> pl.Expr:
        """Whether it has a label, and two texts to which it belongs."""
        import polars as pl

        return pl.col("label").is_not_null() & _is_pair()

    def stratum(self) -> pl.Expr:
        import polars as pl

        return pl.col("label")

    def labels(self, frame: pl.DataFrame) -> Counter[str]:
        return Counter(frame["label"].drop_nulls().to_list())

    def inputs(self, frame: pl.DataFrame) -> Sequence[Input]:
        """Raises `NotAPair`."""
        import polars as pl

        odd = frame.filter(~_is_pair())
        if odd.height:
            raise NotAPair(odd["id"][0])
        parts = []
        for role in ROLES:
            spans = pl.col("spans").list.eval(pl.element().filter(_has(role)))
            start, end = (spans.list.first().struct.field(name) for name in ("start", "end"))
            parts.append(pl.col("text").str.slice(start, end - start).alias(role))
        return frame.select(parts).rows()

    def truth(self, frame: pl.DataFrame) -> list[str]:
        return frame["label"].to_list()

    def written_input(self, given: Input) -> str:
        """A JSON array of the two texts."""
        return json.dumps(list(given), ensure_ascii=False, separators=(",", ":"))

    def checked(self, inputs: Sequence[Input]) -> list[Input]:
        for place, given in enumerate(inputs, start=1):
            two = isinstance(given, tuple | list) and len(given) == len(ROLES)
            if not (two and all(isinstance(text, str) for text in given)):
                raise OddInput(place, pairs=True)
        return [(given[0], given[1]) for given in inputs]

    def record(self, written_input: str, written: str) -> dict[str, Any]:
        first, second = self._read(written_input)
        label = written.strip()
        if not label:
            raise BadAnswer(self.use, written, _("a label is wanted"))
        below = len(first) + 1
        ends = ((0, len(first)), (below, below + len(second)))
        spans = [
            {"start": start, "end": end, "label": role}
            for (start, end), role in zip(ends, ROLES, strict=True)
        ]
        return {"text": f"{first}\n{second}", "label": label, "spans": spans}

    def _read(self, written_input: str) -> tuple[str, str]:
        try:
            first, second = json.loads(written_input)
        except (ValueError, TypeError, RecursionError):
            first, second = None, None
        if not isinstance(first, str) or not isinstance(second, str):
            raise BadAnswer(self.use, written_input, _("a JSON list of two texts is wanted"))
        return first, second

    @property
    def example(self) -> Input:
        return ("warm-up", "warm-up")

    def answers(self, model: Scorer, inputs: Sequence[Input]) -> list[Answer]:
        labels = model.labels
        same, even = self.positive(labels), 1.0 / max(len(labels), 1)
        found: list[Answer] = []
        for pair, row in zip(inputs, model.scores(inputs).tolist(), strict=True):
            reason = why_unanswered(pair, row)
            if reason is not None or not labels:
                shown = dict.fromkeys(labels, even)
                found.append(Pair(None, 0.0, shown, even, reason))
                continue
            shown = dict(zip(labels, row, strict=True))
            best = max(labels, key=shown.__getitem__)
            found.append(Pair(best, shown[best], shown, shown[same]))
        return found

    def trivial(self, truth: Sequence[str]) -> str:
        """The commonest label."""
        return commonest(truth)


def _has(role: str) -> pl.Expr:
    import polars as pl

    return pl.element().struct.field("label") == role


def _is_pair() -> pl.Expr:
    import polars as pl

    alone = [pl.col("spans").list.eval(_has(role)).list.sum() == 1 for role in ROLES]
    return pl.all_horizontal(alone).fill_null(False)
