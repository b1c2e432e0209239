"""What every task has in common: its record, its answers, its metrics."""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pydantic_core import to_json

from feilun.core.artifacts import Gain, Interval
from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.core.part import Part

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

EMPTY, UNKNOWN = "empty", "unknown"

Input = str | tuple[str, str]
"""What a model answers to: a text, or two of them (`match`)."""


def num_characters(given: Input) -> int:
    """How many characters (code points) an input has."""
    return sum(map(len, given)) if isinstance(given, tuple) else len(given)


class BadAnswer(Invalid):
    """A correction, or a label, is no answer to what the task asks."""

    def __init__(self, task: str, written: str, wanted: str) -> None:
        super().__init__(
            _("'{written}' is no answer for the task {task}: {wanted}.").format(
                written=shortened(written), task=task, wanted=wanted
            ),
            remedy="feilun feedback add PREDICTION_ID correction ANSWER",
        )


class OddInput(Invalid):
    """What is asked about is no text, or for `match` no pair of texts; `place` counts from 1."""

    def __init__(self, place: int, pairs: bool) -> None:
        super().__init__(
            _("Input {place} is no pair of texts, and this model compares two.").format(place=place)
            if pairs
            else _("Input {place} is not one text.").format(place=place),
            remedy="feilun predict FIRST SECOND" if pairs else "feilun predict TEXT",
        )


class Entity(NamedTuple):
    """A stretch of a text that means something: `text[start:end]`, in code points; `score` is
    the probability that it is there and is a `label`, in [0, 1]."""

    start: int
    end: int
    label: str
    score: float = 1.0


class Answer(Protocol):
    """A model's answer to one input; each task has its own kind of it.

    `written` is the answer as a text that can be compared with the truth, kept and corrected;
    None when there was nothing to judge by, and `reason` then says why: `empty` (no letter,
    digit or symbol of meaning in it) or `unknown` (nothing the model ever saw). `score` says how
    sure the model is, in [0, 1] (0 without an answer).
    """

    @property
    def written(self) -> str | None: ...

    @property
    def score(self) -> float: ...

    @property
    def reason(self) -> str | None: ...

    def _asdict(self) -> dict[str, Any]: ...


class Scorer(Protocol):
    """The half of a model that predicts one row of figures per input."""

    labels: tuple[str, ...]

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        """Figures `[len(inputs), columns]`, float32, or a row of NaN where an input has nothing
        in it that the model knows. `classify` and `match`: probabilities, a column per label;
        each row sums to 1, unless an input may have several labels. `regress`: one column, the
        value. Any number of inputs, of any length; thread-safe."""


class Tagger(Protocol):
    """The half of a model that finds entities."""

    labels: tuple[str, ...]

    def entities(self, texts: Sequence[str]) -> list[list[Entity] | None]:
        """The entities of each text, by their start, none within another; None where a text has
        nothing in it that the model knows. Any number of texts, of any length; thread-safe."""


class Evaluation(NamedTuple):
    """`metrics` by name; `per_label[label]` has precision, recall and f1; `confusion` counts
    answers by truth, where a task has one label per record."""

    metrics: dict[str, Interval]
    per_label: dict[str, dict[str, Interval]]
    confusion: dict[str, dict[str, int]]


class Task(Part):
    """What is asked of a model."""

    kind: ClassVar[str] = "task"

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """By which models can be compared; the first is the one where none is named."""

    # Its record

    @abstractmethod
    def labelled(self) -> pl.Expr:
        """Whether a record (columns of `feilun.core.records.SCHEMA`) holds its right answer."""

    @abstractmethod
    def stratum(self) -> pl.Expr:
        """The part of the labelled records (String, never null) within which a split keeps its
        shares; the empty text where there are no parts."""

    @abstractmethod
    def labels(self, frame: pl.DataFrame) -> Counter[str]:
        """How often each label occurs among the labelled records of `frame`."""

    @abstractmethod
    def inputs(self, frame: pl.DataFrame) -> Sequence[Input]:
        """What a model is given of each record."""

    @abstractmethod
    def truth(self, frame: pl.DataFrame) -> list[str]:
        """The right answer of each labelled record, written as `Answer.written` writes it."""

    @abstractmethod
    def record(self, written_input: str, written: str) -> dict[str, Any]:
        """`text`, `label` and `spans` of the record that says: the right answer to this input
        (as `written_input` wrote it) is this (as `Answer.written` writes it). Raises
        `BadAnswer` where it is no answer of this task."""

    def written_input(self, given: Input) -> str:
        """An input as one text, to be logged."""
        assert isinstance(given, str)
        return given

    def checked(self, inputs: Sequence[Input]) -> list[Input]:
        """The inputs, each of which is what the task asks about; raises `OddInput`."""
        for place, given in enumerate(inputs, start=1):
            if not isinstance(given, str):
                raise OddInput(place, pairs=False)
        return list(inputs)

    # Its answers

    @property
    def exclusive(self) -> bool:
        """Whether an answer is one label, which excludes the others."""
        return False

    @property
    def example(self) -> Input:
        """Some input, to warm a model up with."""
        return "warm-up"

    def counted(self, written: str) -> list[str]:
        """The labels in an answer, to be counted; there are only so many of them."""
        return [written]

    @abstractmethod
    def answers(self, model: Any, inputs: Sequence[Input]) -> list[Answer]:
        """What `model` (a `Scorer`, or a `Tagger` for `tag`) answers to `inputs`."""

    @abstractmethod
    def trivial(self, truth: Sequence[str]) -> str:
        """The best answer that looks at no input, from the right answers of training."""

    # Its metrics

    @abstractmethod
    def evaluate(
        self,
        truth: Sequence[str],
        answers: Sequence[str | None],
        labels: Sequence[str],
        *,
        seed: int,
        confidence: float = 0.95,
    ) -> Evaluation:
        """Every metric with its percentile bootstrap interval at `confidence`; both sequences
        hold answers as `Answer.written` writes them."""

    @abstractmethod
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
        """By how much `candidate` is better than `other` on the same records, from a paired
        bootstrap; above 0 is better, for errors too."""

    # Its name

    def named(self) -> str | dict[str, Any]:
        """The task as it is written down: its name, or with settings other than the defaults a
        table."""
        settings = self.model_dump(mode="json", exclude_defaults=True)
        return self.use if set(settings) <= {self.selector} else settings


def task_named(written: str | dict[str, Any]) -> Task:
    """The task that `Task.named` wrote down; the empty text is `classify`."""
    table = {"use": written or "classify"} if isinstance(written, str) else written
    return Task.model_validate(table)


def jsonable(answer: Answer) -> dict[str, Any]:
    """What the answer holds, as JSON values."""
    return {name: _plain(value) for name, value in answer._asdict().items()}


def written_scores(answer: Answer) -> str | None:
    """The probabilities in an answer as compact JSON, to four digits: of each label, or of each
    entity in its order; None where the task has none."""
    scores = getattr(answer, "scores", None)
    if scores is not None:
        return _written({k: round(v, 4) for k, v in scores.items()})
    entities = getattr(answer, "entities", None)
    return None if entities is None else _written([round(e.score, 4) for e in entities])


def _written(value: Any) -> str:
    return to_json(value).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Entity):
        return value._asdict()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def contentless(text: str) -> bool:
    """Whether the text has no letter, digit or symbol (emoji count) to judge by."""
    return not any(unicodedata.category(char)[0] in "LNS" for char in text)
