"""The same text under different labels."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare.step import Step, twin_key


class Conflicts(Step):
    """Settles texts that stand under several labels.

    `majority` keeps the label that more than half of the text's records have and drops the
    others; without such a label, and with `none` always, all of them go. Unlabelled records
    take no part.
    """

    use: ClassVar[str] = "conflicts"

    keep: Literal["majority", "none"] = Field("majority", description="which label stays")

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        frame = frame.with_columns(twin_key(pl.col("text")).alias("_key"))
        labelled = frame.filter(pl.col("label").is_not_null())
        votes = labelled.group_by("_key", "label").agg(pl.len().alias("_votes"))
        contested = votes.filter(pl.len().over("_key") > 1)
        winners = contested.filter(pl.col("_votes") * 2 > pl.col("_votes").sum().over("_key"))
        if self.keep == "none":
            winners = winners.clear()
        frame = frame.join(
            contested.select(pl.col("_key").unique()).with_columns(_contested=True),
            on="_key",
            how="left",
            maintain_order="left",
        ).join(
            winners.select("_key", pl.col("label").alias("_winner")),
            on="_key",
            how="left",
            maintain_order="left",
        )
        loses = (
            pl.col("_contested").fill_null(False)
            & pl.col("label").is_not_null()
            & pl.col("label").ne_missing(pl.col("_winner"))
        )
        columns = [name for name in frame.columns if not name.startswith("_")]
        run.drop(frame.filter(loses).select(columns), self.use, "conflict")
        return frame.filter(~loses).select(columns)
