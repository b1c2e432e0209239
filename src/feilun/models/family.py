"""What every model family offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import _
from feilun.core.part import Part
from feilun.core.run import Run
from feilun.models.space import Space
from feilun.tasks import Classify, Task

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


class NothingToLearn(Invalid):
    """No training text has anything in it."""

    def __init__(self, num_rows: int) -> None:
        super().__init__(
            _("None of the {count} training texts holds anything to learn from.").format(
                count=num_rows
            ),
            remedy="feilun show dataset/latest",
        )


class NothingLabelled(Invalid):
    """No training text says what is to be learnt."""

    def __init__(self, num_rows: int) -> None:
        super().__init__(
            _("None of the {count} training texts has a label.").format(count=num_rows),
            remedy="feilun show dataset/latest",
        )


class LabelUnknown(Invalid):
    """A record's label is none of the labels to learn."""

    def __init__(self, label: object, labels: Sequence[str]) -> None:
        super().__init__(
            _("The label '{label}' is none of the labels to learn: {labels}.").format(
                label=shortened(label), labels=shortened(", ".join(labels))
            ),
            remedy="feilun prepare",
        )


class Estimate(NamedTuple):
    """What training would take: the settings with every open choice made, and the seconds."""

    family: Family
    seconds: float


class Predictor(Protocol):
    """The half of a model that predicts: for `tag` a `Tagger`, for all else a `Scorer`
    (`feilun.tasks.task`)."""

    labels: tuple[str, ...]


class Embedder(Protocol):
    """What a predictor offers besides, where its family places texts in a space."""

    def embeddings(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of length 1, float32 `[len(texts), width]`; texts of like meaning are near. A
        row of NaN where a text has nothing in it that the model knows."""


class Lesson(NamedTuple):
    """What a model is to learn from.

    `train` and `validation` have the columns of `feilun.core.records.SCHEMA` that the task reads
    (`text` and `label`; `spans` for `tag` and `match`). `labels` are in the order of a
    predictor's columns (entity types for `tag`, none for `regress`). `unlabelled` are Parquet
    files of records without a label, read only by families that learn from them. `soft` are a
    teacher's probabilities, float32 `[len(train), len(labels)]`, where there is one (a row of
    NaN: the record's own label holds). `trained` are models that have learnt from this very
    lesson, for families that are made of others.
    """

    train: pl.DataFrame
    validation: pl.DataFrame
    labels: tuple[str, ...]
    task: Task = Classify()
    unlabelled: tuple[Path, ...] = ()
    soft: np.ndarray | None = None
    trained: tuple[tuple[Family, Path], ...] = ()


class Architecture(Part):
    """What `[train] model.architecture` names: a family, or a choice among several."""

    kind: ClassVar[str] = "family"
    selector: ClassVar[str] = "architecture"

    @abstractmethod
    def candidates(self) -> tuple[Family, ...]:
        """The families to try, the cheapest first."""


class Family(Architecture):
    """A kind of model; its fields are its settings, under `[train] model`."""

    tasks: ClassVar[tuple[str, ...]] = ("classify",)
    """What it can be asked to learn."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that training needs beside the base installation (extra `train`)."""
    from_encoder: ClassVar[bool] = False
    """Whether it begins with a pretrained encoder, whose speed no setting changes."""

    def candidates(self) -> tuple[Family, ...]:
        """Just this one."""
        return (self,)

    @classmethod
    def missing(cls) -> list[str]:
        """The modules of `needs` that are not installed."""
        return [name for name in cls.needs if find_spec(name) is None]

    @abstractmethod
    def estimate(self, lesson: Lesson, budget_seconds: float, run: Run) -> Estimate:
        """What `fit` would take on this machine, with open choices (size, epochs) made so that
        it fits `budget_seconds` if any choice does."""

    def space(self, task: Task) -> Space:
        """What `feilun tune` tries where `[train.tune]` names nothing; none: nothing to try."""
        return {}

    @abstractmethod
    def fit(self, lesson: Lesson, folder: Path, run: Run) -> None:
        """Learns, and writes the model into `folder` (empty). Same settings, lesson and
        `run.seed` give the same bytes. What it leaves in `run.folder` lets a killed fit go on
        where it was."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Predictor:
        """The half that predicts, from what `fit` wrote; imports neither torch nor
        transformers."""
