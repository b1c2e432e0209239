"""Predictions: what the project's own users asked, as records without (or with its) labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Literal

import polars as pl
import sqlalchemy as sa
from pydantic import Field

from feilun.core.records import PREDICTIONS_SOURCE, SCHEMA
from feilun.stages.collect.source import Piece, Quarantine, Source

CHUNK = 20_000
"""Predictions in memory at a time."""
_LOG = Path(".feilun") / "events.db"
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
        path = root / _LOG
        if not path.exists():
            return
        after, newest = int(since or 0), _newest(path)
        if newest < after:  # another log lies there now
            after = 0
        identity = hashlib.sha256(f"{after} {newest}".encode()).hexdigest()

        def frames(_quarantine: Quarantine) -> Iterator[pl.DataFrame]:
            for rows in _chunks(path, after, newest):
                yield self._records(rows)

        yield Piece(PREDICTIONS_SOURCE, identity, frames, lambda: str(newest))

    def _records(self, rows: list[dict[str, Any]]) -> pl.DataFrame:
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
            (pl.col("at") * 1e6).round().cast(pl.Int64).cast(SCHEMA["time"]).alias("time"),
        )


def _newest(path: Path) -> int:
    from feilun.store import EventLog

    with closing(EventLog(path)) as log, log.database.read() as connection:
        return int(connection.scalar(sa.text("SELECT max(seq) FROM predictions")) or 0)


def _chunks(path: Path, after: int, newest: int) -> Iterator[list[dict[str, Any]]]:
    """The rows whose texts are there, opened. Each chunk is read by itself: no long read holds
    back the log's writers."""
    from feilun.store import EventLog
    from feilun.store.events.vault import REMOVED

    with closing(EventLog(path)) as log:
        while True:
            with log.database.read() as connection:
                values = {"after": after, "newest": newest, "limit": CHUNK}
                found = connection.execute(_ROWS, values).mappings()
                rows = log.vault.open(connection, map(dict, found), "input", "id", "kept")
            if not rows:
                return
            after = rows[-1]["seq"]
            yield [row for row in rows if row["kept"] != REMOVED]
