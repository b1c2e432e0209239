"""What a model offers besides, where several answer and each input is answered by one of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from feilun.tasks.task import Input


class Routed(NamedTuple):
    """Figures as `feilun.tasks.task.Scorer`; for each input the level that gave them, int64: 0
    for the first, the depth where no level was sure enough (the figures are the last one's
    then); and the seconds that it took, its share of those of every level it was asked of."""

    scores: np.ndarray
    levels: np.ndarray
    seconds: np.ndarray


class Levelled(ABC):
    """A predictor in levels, the cheapest first."""

    labels: tuple[str, ...]
    names: tuple[str, ...]
    """Of the levels."""

    @property
    def depth(self) -> int:
        """How many levels there are."""
        return len(self.names)

    @abstractmethod
    def routed(self, inputs: Sequence[Input], *, leaves: bool = False) -> Routed:
        """Each input's figures from the first level that is sure enough; the last takes whatever
        is left. With `leaves` it, too, takes only what it is sure of. Thread-safe."""

    @abstractmethod
    def last(self, inputs: Sequence[Input]) -> np.ndarray:
        """The figures of the last level alone."""


class Ready(NamedTuple):
    """A `Scorer` whose figures are there already."""

    labels: tuple[str, ...]
    figures: np.ndarray

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        """The figures, which must be those of `inputs`."""
        assert len(inputs) == len(self.figures)
        return self.figures
