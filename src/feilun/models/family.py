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
    """The half that predicts."""

    labels: tuple[str, ...]

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities `[len(texts), len(labels)]`, float32; each row sums to 1, or is NaN
        where the text has nothing in it that the model knows. Any number of texts, of any
        length; thread-safe."""


class Architecture(Part):
    """What `[train] model.architecture` names: a family, or a choice among several."""

    kind: ClassVar[str] = "family"
    selector: ClassVar[str] = "architecture"

    @abstractmethod
    def candidates(self) -> tuple[Family, ...]:
        """The families to try, the cheapest first."""


class Family(Architecture):
    """A kind of model; its fields are its settings, under `[train] model`."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Modules that training needs beside the base installation (extra `train`)."""

    def candidates(self) -> tuple[Family, ...]:
        """Just this one."""
        return (self,)

    @classmethod
    def missing(cls) -> list[str]:
        """The modules of `needs` that are not installed."""
        return [name for name in cls.needs if find_spec(name) is None]

    @abstractmethod
    def estimate(self, train: pl.DataFrame, budget_seconds: float, run: Run) -> Estimate:
        """What `fit` would take on this machine for `train` (columns `text`, `label`), with
        open choices (size, epochs) made so that it fits `budget_seconds` if any choice does."""

    @abstractmethod
    def fit(
        self,
        train: pl.DataFrame,
        validation: pl.DataFrame,
        labels: Sequence[str],
        folder: Path,
        run: Run,
    ) -> None:
        """Trains on `train` and writes the model into `folder` (empty); both frames have the
        columns `text` and `label`. Same settings, frames and `run.seed` give the same bytes.
        What it leaves in `run.folder` lets a killed fit go on where it was."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Predictor:
        """The half that predicts, from what `fit` wrote; imports neither torch nor
        transformers."""
