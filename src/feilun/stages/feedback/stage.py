"""Feedback: what users said → records for the next turn."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Records
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.feedback.collector import Collector, Vote
from feilun.stages.feedback.corrections import Corrections
from feilun.stages.feedback.ratings import Ratings
from feilun.tasks import Classify, Task
from feilun.tasks.task import BadAnswer

if TYPE_CHECKING:
    import polars as pl


class FeedbackGiven(NamedTuple):
    """Feedback joined to its predictions (rows of `EventLog.feedback_through`), the labels that
    are known, and what is asked."""

    rows: list[dict[str, Any]]
    labels: tuple[str, ...]
    task: Task = Classify()


class Feedback(Stage[FeedbackGiven, Records]):
    """One record per text that users agree on.

    Each source has one vote per text, its latest. The answer with most votes wins; a tie is
    dropped as `disputed`, one that is no answer to what is asked as `not_an_answer`. A label
    nobody trained on is dropped as `unknown_label` unless `new_labels` is true.
    """

    use: ClassVar[str] = "feedback"

    collectors: tuple[SerializeAsAny[Collector], ...] = Field(
        (Corrections(), Ratings()), description="what counts as a vote"
    )
    minimum_votes: int = Field(1, ge=1, description="sources that must agree")
    new_labels: bool = Field(False, description="let users bring labels not seen before")

    def inputs(self, given: FeedbackGiven, root: Path) -> dict[str, str]:
        """The feedback up to its newest, and how much there is; and the known labels."""
        newest = given.rows[-1]["seq"] if given.rows else 0
        # Newer feedback has a higher number; retention and erasure leave the newest and fewer.
        found = {
            "feedback_through": str(newest),
            "feedback_count": str(len(given.rows)),
            "labels": "\x00".join(given.labels),
        }
        named = given.task.named()
        return found if named == Classify.use else found | {"task": json.dumps(named)}

    def run(self, given: FeedbackGiven, run: Run) -> Records:
        """`records.parquet`, and `dropped.parquet` with the reasons."""
        from feilun.core.records import FEEDBACK_SOURCE, parquet

        votes = [
            vote
            for row in given.rows
            for collector in self.collectors
            if (vote := collector.vote(row)) is not None
        ]
        kept, reasons = self._count(votes, given)
        frame = _frame(kept, given.task)
        for reason, losers in reasons.items():
            run.drop(_frame(losers, None), self.use, reason)
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
        self, votes: list[Vote], given: FeedbackGiven
    ) -> tuple[list[Vote], dict[str, list[Vote]]]:
        latest: dict[str, dict[str, Vote]] = defaultdict(dict)
        for vote in votes:
            latest[vote.text][vote.source] = vote
        known = set(given.labels)
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
            elif (labels := _labels(vote, given.task)) is None:
                reasons["not_an_answer"].append(vote)
            elif not labels <= known and not self.new_labels:
                reasons["unknown_label"].append(vote)
            else:
                kept.append(vote)
        return kept, reasons


def _labels(vote: Vote, task: Task) -> set[str] | None:
    """The labels that the vote names; None where it is no answer to what the task asks."""
    try:
        return set(task.labels(_frame([vote], task)))
    except BadAnswer:
        return None


def _frame(votes: list[Vote], task: Task | None) -> pl.DataFrame:
    """The votes as records; as they were written, without a task that understands them."""
    import polars as pl

    from feilun.core.records import FEEDBACK_SOURCE, SCHEMA, conform

    said = [
        task.record(vote.text, vote.label)
        if task is not None
        else {"text": vote.text, "label": vote.label, "spans": None}
        for vote in votes
    ]
    rows = {
        "text": [row["text"] for row in said],
        "label": [row["label"] for row in said],
        "source": [FEEDBACK_SOURCE] * len(votes),
        "row": [vote.seq for vote in votes],
        "spans": [row["spans"] for row in said],
    }
    schema = {name: SCHEMA[name] for name in rows}
    return conform(pl.DataFrame(rows, schema=schema))
