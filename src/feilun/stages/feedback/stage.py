"""Feedback: what users said → records for the next turn."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import polars as pl
from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Records
from feilun.core.records import FEEDBACK_SOURCE, SCHEMA, conform, parquet
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.feedback.collector import Collector, Vote
from feilun.stages.feedback.corrections import Corrections
from feilun.stages.feedback.ratings import Ratings


class FeedbackGiven(NamedTuple):
    """Feedback joined to its predictions (rows of `EventLog.feedback_through`), and the labels
    that are known."""

    rows: list[dict[str, Any]]
    labels: tuple[str, ...]


class Feedback(Stage[FeedbackGiven, Records]):
    """One record per text that users agree on.

    Each source has one vote per text, its latest. The label with most votes wins; a tie is
    dropped as `disputed`. A label nobody trained on is dropped as `unknown_label` unless
    `new_labels` is true.
    """

    use: ClassVar[str] = "feedback"

    collectors: tuple[SerializeAsAny[Collector], ...] = Field(
        (Corrections(), Ratings()), description="what counts as a vote"
    )
    minimum_votes: int = Field(1, ge=1, description="sources that must agree")
    new_labels: bool = Field(False, description="let users bring labels not seen before")

    def inputs(self, given: FeedbackGiven, root: Path) -> dict[str, str]:
        """The feedback, which only ever grows, up to its newest; and the known labels."""
        newest = given.rows[-1]["seq"] if given.rows else 0
        return {"feedback_through": str(newest), "labels": "\x00".join(given.labels)}

    def run(self, given: FeedbackGiven, run: Run) -> Records:
        """`records.parquet`, and `dropped.parquet` with the reasons."""
        votes = [
            vote
            for row in given.rows
            for collector in self.collectors
            if (vote := collector.vote(row)) is not None
        ]
        kept, reasons = self._count(votes, set(given.labels))
        frame = _frame(kept)
        for reason, losers in reasons.items():
            run.drop(_frame(losers), self.use, reason)
        run.spend(len(given.rows), "feedback")
        return Records(
            files={
                "records.parquet": run.keep(parquet(frame)),
                "dropped.parquet": run.keep(parquet(run.dropped())),
            },
            made_by=self.model_dump(mode="json"),
            num_rows=frame.height,
            sources={FEEDBACK_SOURCE: frame.height},
        )

    def _count(
        self, votes: list[Vote], known: set[str]
    ) -> tuple[list[Vote], dict[str, list[Vote]]]:
        latest: dict[str, dict[str, Vote]] = defaultdict(dict)
        for vote in votes:
            latest[vote.text][vote.source] = vote
        kept: list[Vote] = []
        reasons: dict[str, list[Vote]] = defaultdict(list)
        for by_source in latest.values():
            counts = Counter(vote.label for vote in by_source.values()).most_common(2)
            winner, most = counts[0]
            vote = next(v for v in by_source.values() if v.label == winner)
            if len(counts) > 1 and counts[1][1] == most:
                reasons["disputed"].append(vote)
            elif most < self.minimum_votes:
                reasons["too_few_votes"].append(vote)
            elif winner not in known and not self.new_labels:
                reasons["unknown_label"].append(vote)
            else:
                kept.append(vote)
        return kept, reasons


def _frame(votes: list[Vote]) -> pl.DataFrame:
    rows = {
        "text": [vote.text for vote in votes],
        "label": [vote.label for vote in votes],
        "source": [FEEDBACK_SOURCE] * len(votes),
        "row": [vote.seq for vote in votes],
    }
    schema = {name: SCHEMA[name] for name in rows}
    return conform(pl.DataFrame(rows, schema=schema))
