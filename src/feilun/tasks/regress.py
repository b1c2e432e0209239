"""Regress: a number for a text."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np

from feilun.core.artifacts import Gain
from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.tasks import regression
from feilun.tasks.task import (
    EMPTY,
    UNKNOWN,
    Answer,
    BadAnswer,
    Evaluation,
    Input,
    Scorer,
    Task,
    contentless,
)

if TYPE_CHECKING:
    import polars as pl

HELD = 0.9
"""The share of the validation residuals that `Regressor.interval` holds."""
LARGEST = float(np.finfo(np.float32).max)
"""The largest number that a model can answer with: 3.4e38."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


class NotANumber(Invalid):
    """A record's label is no number."""

    def __init__(self, record: str, label: str) -> None:
        super().__init__(
            _(
                "The label '{label}' of record {record} is no number such as 4, -0.5 or 1e3 (up "
                "to 3.4e38): [project] task = 'regress' learns numbers."
            ).format(label=shortened(label), record=shortened(record)),
            remedy=_(
                "Write the number in digits, without thousands separators or a unit, then: "
                "feilun turn"
            ),
        )


class Regressor(Scorer, Protocol):
    """The half of a model that predicts numbers: `scores` has one column, the value."""

    interval: tuple[float, float]
    """What to add to a value for the ends of the range that holds `HELD` of the truths."""


class Value(NamedTuple):
    """`value`, and the range from `low` to `high` in which the truth lies nine times in ten, as
    measured on the validation split (all None without an answer). `score` is that share, .9; no
    number is surer than another (0 without an answer)."""

    value: float | None
    low: float | None
    high: float | None
    score: float
    reason: str | None = None

    @property
    def written(self) -> str | None:
        """The value in as few digits as say it."""
        return None if self.value is None else shortest(self.value)


class Regress(Task):
    """A record is a text and, for training, a number, written as text in `label`.

    Loss: the squared error. Metrics: `mae` (mean absolute error) and `rmse` (root of the mean
    squared error), both in the unit of the label and better when less; `r2` (the share of the
    variance that is explained) and `spearman` (the correlation of ranks). A text without an
    answer counts as `feilun.tasks.regression.filled` says.
    """

    use: ClassVar[str] = "regress"

    @property
    def metrics(self) -> tuple[str, ...]:
        return regression.METRICS

    def labelled(self) -> pl.Expr:
        import polars as pl

        return pl.col("label").is_not_null()

    def stratum(self) -> pl.Expr:
        import polars as pl

        return pl.lit("")

    def labels(self, frame: pl.DataFrame) -> Counter[str]:
        """None: numbers are no labels."""
        return Counter()

    def inputs(self, frame: pl.DataFrame) -> Sequence[Input]:
        return frame["text"].to_list()

    def values(self, frame: pl.DataFrame) -> list[float]:
        """The number of each labelled record; raises `NotANumber`."""
        found: list[float] = []
        for record, label in frame.select("id", "label").iter_rows():
            value = number(label)
            if value is None:
                raise NotANumber(record, label)
            found.append(value)
        return found

    def truth(self, frame: pl.DataFrame) -> list[str]:
        return [shortest(value) for value in self.values(frame)]

    def record(self, written_input: str, written: str) -> dict[str, Any]:
        value = number(written)
        if value is None:
            raise BadAnswer(self.use, written, _("a number such as 4, -0.5 or 1e3 is wanted"))
        return {"text": written_input, "label": shortest(value), "spans": None}

    def counted(self, written: str) -> list[str]:
        """None: there is no end of numbers."""
        return []

    def answers(self, model: Regressor, inputs: Sequence[Input]) -> list[Answer]:
        below, above = model.interval
        found: list[Answer] = []
        for text, figure in zip(inputs, model.scores(inputs)[:, 0], strict=True):
            if contentless(str(text)):
                found.append(Value(None, None, None, 0.0, EMPTY))
            elif not np.isfinite(figure):
                found.append(Value(None, None, None, 0.0, UNKNOWN))
            else:
                value = _rounded(figure)
                low, high = (_rounded(np.float32(value + offset)) for offset in (below, above))
                found.append(Value(value, low, high, HELD))
        return found

    def trivial(self, truth: Sequence[str]) -> str:
        """The median: no other constant has a smaller mean absolute error."""
        return shortest(median(map(float, truth)))

    def evaluate(
        self,
        truth: Sequence[str],
        answers: Sequence[str | None],
        labels: Sequence[str],
        *,
        seed: int,
        confidence: float = 0.95,
    ) -> Evaluation:
        return regression.evaluate(
            [float(t) for t in truth], _floats(answers), seed=seed, confidence=confidence
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
        confidence: float = 0.95,
    ) -> Gain:
        return regression.gain(
            [float(t) for t in truth],
            _floats(candidate),
            _floats(other),
            metric=metric,
            against=against,
            seed=seed,
            confidence=confidence,
        )


def number(written: str | None) -> float | None:
    """The number that is written, in ASCII digits, with a point before decimals; None where it
    is something else, or larger than `LARGEST`."""
    text = (written or "").strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) and abs(value) <= LARGEST else None


def shortest(value: float) -> str:
    """The number in as few characters as give it back: `4`, `-0.5`, `1e+20`."""
    # 0.0 is added so that there is no negative zero.
    return repr(float(value) + 0.0).removesuffix(".0")


def _rounded(figure: np.floating[Any]) -> float:
    """The shortest number that is this one in its own precision: .1, not .10000000149."""
    return float(str(figure))


def _floats(written: Sequence[str | None]) -> list[float | None]:
    return [None if one is None else float(one) for one in written]
