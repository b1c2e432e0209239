"""What every check offers."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from feilun.core.artifacts import Interval
from feilun.core.part import Part

if TYPE_CHECKING:
    import polars as pl


class Check(Part):
    """One more thing to measure on the test; an `[[evaluate.checks]]` table."""

    kind: ClassVar[str] = "check"
    tasks: ClassVar[tuple[str, ...]] = ("classify", "tag", "match", "regress")
    """Where it means something; elsewhere it is not asked."""

    @abstractmethod
    def measure(self, outcomes: pl.DataFrame, confidence: float, seed: int) -> dict[str, Interval]:
        """Figures by name, from one row per test record: `id`, `text`, `truth`, `predicted`
        (null: no answer), `score` (the probability given to `predicted`)."""
