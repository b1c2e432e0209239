"""What every task has in common."""

from __future__ import annotations

import unicodedata
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from feilun.core.part import Part

if TYPE_CHECKING:
    import numpy as np

EMPTY, UNKNOWN = "empty", "unknown"


class Prediction(NamedTuple):
    """A model's answer to one input.

    `label` is None when there is nothing to judge by; `reason` then says why: `empty` (no
    letter, digit or symbol of meaning in it) or `unknown` (nothing the model ever saw).
    `score` is the probability of `label`, in [0, 1] (0 without one); `scores` sum to 1.
    """

    label: str | None
    score: float
    scores: dict[str, float]
    reason: str | None = None


class Task(Part):
    """What is asked of a model."""

    kind: ClassVar[str] = "task"

    @abstractmethod
    def predictions(
        self, texts: Sequence[str], labels: Sequence[str], scores: np.ndarray
    ) -> list[Prediction]:
        """The answers for `texts` from `scores` `[len(texts), len(labels)]`, probabilities; a
        row of NaN is a text of which the model knows nothing."""


def contentless(text: str) -> bool:
    """Whether the text has no letter, digit or symbol (emoji count) to judge by."""
    return not any(unicodedata.category(char)[0] in "LNS" for char in text)
