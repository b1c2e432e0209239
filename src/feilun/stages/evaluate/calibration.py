"""Whether a score of .8 is right eight times in ten."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from feilun.core.artifacts import Interval
from feilun.stages.evaluate.check import Check

if TYPE_CHECKING:
    import polars as pl

RESAMPLES = 500


class Calibration(Check):
    """`calibration_error`: the mean distance between score and share of right answers over
    score bins, weighted by their size (expected calibration error: Guo et al., On Calibration
    of Modern Neural Networks, 2017); 0 is perfect. Interval: bootstrap over the records."""

    use: ClassVar[str] = "calibration"
    tasks: ClassVar[tuple[str, ...]] = ("classify", "tag", "match")

    bins: int = Field(10, ge=2, le=100, description="of equal width over the scores")

    def measure(self, outcomes: pl.DataFrame, confidence: float, seed: int) -> dict[str, Interval]:
        import polars as pl

        answered = outcomes.filter(pl.col("predicted").is_not_null())
        if answered.is_empty():
            return {}
        score = answered["score"].to_numpy()
        miss = score - (answered["predicted"] == answered["truth"]).to_numpy()
        at = np.minimum((score * self.bins).astype(np.int64), self.bins - 1)
        total = len(score)

        def error(weights: np.ndarray | None) -> float:
            weighted = miss if weights is None else miss * weights
            return float(np.abs(np.bincount(at, weighted, self.bins)).sum() / total)

        random = np.random.default_rng(seed)
        drawn = [
            error(np.bincount(random.integers(0, total, total), minlength=total))
            for _ in range(RESAMPLES)
        ]
        tail = (1 - confidence) / 2
        low, high = np.quantile(drawn, [tail, 1 - tail])
        return {"calibration_error": Interval(error(None), float(low), float(high))}
