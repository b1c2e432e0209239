"""The same text more than once."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from feilun.core.run import Run
from feilun.stages.prepare.step import Step, twin_key


class Duplicates(Step):
    """Keeps the first of records whose texts are twins (see `twin_key`), a labelled one before
    an unlabelled one; drops the rest as `duplicate`."""

    use: ClassVar[str] = "duplicates"

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        frame = frame.with_columns(
            twin_key(pl.col("text")).alias("_key"), pl.int_range(pl.len()).alias("_at")
        )
        best = pl.col("_at").sort_by(pl.col("label").is_null(), "_at").first().over(
            "_key"
        ) == pl.col("_at")
        run.drop(frame.filter(~best).drop("_key", "_at"), self.use, "duplicate")
        return frame.filter(best).drop("_key", "_at")
