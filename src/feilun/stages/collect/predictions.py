"""Predictions: what the project's own users asked, as records without (or with its) labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import sqlalchemy as sa
from pydantic import Field

from feilun.stages.collect.logged import Wanted, logged, time_of_row
from feilun.stages.collect.source import Piece, Source

if TYPE_CHECKING:
    import polars as pl

CHUNK = 20_000
"""Predictions in memory at a time."""
_ROWS = sa.text(
    "SELECT seq, id, kept, at, input, label, score FROM predictions p"
    " WHERE seq > :after AND seq <= :newest AND kept IN ('full', 'masked', 'vault')"
    " AND route <> 'shadow'"
    " AND NOT EXISTS (SELECT 1 FROM feedback f WHERE f.prediction = p.id AND f.kind <> 'comment')"
    " ORDER BY seq LIMIT :limit"
)


class Predictions(Source):
    """The texts that this project has answered, from its own event log; none before the first.
    Those of which the log has only a hash are left out.

    They have no label, or with `labels = "predicted"` the one that was answered, where the model
    was sure of it: it learns from itself then, so let feedback or an evaluation watch over it. A
    prediction on which there is feedback is left to the stage `feedback`. A text that is
    asked again in a later turn counts once, and one that was collected stays: if it is corrected
    later, its record and that of the correction meet in the step `conflicts` (or `duplicates`,
    without a label).
    """

    use: ClassVar[str] = "predictions"
    accumulates: ClassVar[bool] = True

    labels: Literal["none", "predicted"] = Field("none", description="predicted: its answer")
    minimum_score: float = Field(
        0.95, ge=0, le=1, description="answers of a lower score stay without a label"
    )

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """One piece: the predictions since the last turn; none while there is no event log."""
        from feilun.core.records import PREDICTIONS_SOURCE

        wanted = Wanted("predictions", _ROWS, CHUNK, sealed=True)
        return logged(PREDICTIONS_SOURCE, root, since, wanted, self._records)

    def _records(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
        import polars as pl

        schema = {
            "seq": pl.Int64,
            "at": pl.Float64,
            "input": pl.String,
            "label": pl.String,
            "score": pl.Float64,
        }
        frame = pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema)
        frame = frame.rename({"seq": "row", "input": "text"})
        sure = pl.lit(self.labels == "predicted") & (pl.col("score") >= self.minimum_score)
        return frame.select(
            "text",
            pl.when(sure).then("label").alias("label"),
            "row",
            time_of_row(),
        )
