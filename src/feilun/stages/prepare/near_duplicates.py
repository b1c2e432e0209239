"""Nearly the same text more than once."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field

from feilun.core.run import Run
from feilun.core.similarity import near_duplicates
from feilun.stages.prepare.step import Step, twin_key


class NearDuplicates(Step):
    """Keeps the best of records whose texts are nearly the same, drops the rest as
    `near_duplicate`.

    Two texts are nearly the same when the sets of five-character pieces of their `twin_key`
    have a Jaccard similarity of `threshold` or more; shorter texts must be twins. A cluster is
    what such pairs connect. Its best record is a labelled one before an unlabelled one, then
    the longest, then the first.

    Labels are never merged silently: a small difference may be the one that counts («能退»,
    «不能退»), so the best record of every other label in the cluster stays too, unless its
    text is a twin of one that stays.
    """

    use: ClassVar[str] = "near_duplicates"

    threshold: float = Field(
        0.7, ge=0.5, le=0.95, description="Jaccard similarity of five-character pieces"
    )

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        frame = frame.with_columns(twin_key(pl.col("text")).alias("_key"))
        clusters = near_duplicates(frame["_key"], threshold=self.threshold)
        frame = frame.with_columns(clusters.alias("_cluster")).with_row_index("_at")
        order = [pl.col("label").is_null(), -pl.col("text").str.len_chars().cast(pl.Int64), "_at"]
        ranked = frame.select("_at", "_cluster", "_key", "label", "text").sort(order)
        # Of each label the best, of the unlabelled only where nothing better is; then no twins.
        kept = ranked.filter(
            pl.struct("_cluster", "label").is_first_distinct()
            & (pl.col("label").is_not_null() | pl.col("_cluster").is_first_distinct())
        ).filter(pl.struct("_cluster", "_key").is_first_distinct())
        stays = pl.col("_at").is_in(kept["_at"].implode())
        columns = [name for name in frame.columns if not name.startswith("_")]
        run.drop(frame.filter(~stays).select(columns), self.use, "near_duplicate")
        return frame.filter(stays).select(columns)
