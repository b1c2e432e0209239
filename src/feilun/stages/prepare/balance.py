"""No label drowns the others."""

from __future__ import annotations

from typing import ClassVar, Self

import polars as pl
from pydantic import Field

from feilun.core.records import FEEDBACK_SOURCE
from feilun.core.run import Run
from feilun.stages.prepare.corpus import DROPS, Corpus
from feilun.stages.prepare.lots import lots
from feilun.stages.prepare.step import CorpusStep, StepUnfit
from feilun.tasks import Task


class Balance(CorpusStep):
    """Drops the surplus of frequent labels as `balance`: in the training split, no label keeps
    more than `most` times the records of the rarest one, nor fewer than `least` for that.

    Validation and test keep their shares: what is measured is life, not the balanced split. A
    model of a balanced split takes the labels to be more alike in number than they are, so
    its probabilities lean towards the rare ones; compare it with the unbalanced one before it
    goes live (the `ngram` family also has `class_weight`).

    Who goes is drawn by lot, from the record's text and the seed: the order of arrival does not
    matter, and a new record moves few others. Feedback stays: it is rare, and each says what
    the model did wrong; it takes its place of the label's all the same. Unlabelled records are
    not counted and stay. What `augment` makes comes after, and is not counted. It is for tasks with
    one label per record: `classify` and `match`.
    """

    use: ClassVar[str] = "balance"
    after_split: ClassVar[bool] = True
    """Given the training split only, after the split."""

    most: float = Field(
        3.0, ge=1, le=1e6, description="times the records of the rarest label that a label keeps"
    )
    least: int = Field(200, ge=1, description="records that every label keeps in any case")

    def fitted(self, task: Task) -> Self:
        """Raises `StepUnfit` where a record has not one label."""
        if not task.exclusive:
            raise StepUnfit(self.use, task.use)
        return self

    def decide(self, corpus: Corpus, run: Run) -> pl.DataFrame:
        """Sorts only what belongs to labels over the limit."""
        labelled = corpus.known.filter(pl.col("label").is_not_null())
        counts = labelled.group_by("label").len()
        if counts.is_empty():
            return pl.DataFrame(schema=DROPS)
        rarest = counts["len"].min()
        assert isinstance(rarest, int)
        limit = max(self.least, int(self.most * rarest))
        over = labelled.join(counts.filter(pl.col("len") > limit), on="label", how="semi")
        over = over.with_columns(lots(over["key"], f"{run.seed}:balance"))
        feedback = pl.col("source").cast(pl.String) == FEEDBACK_SOURCE
        gone = (
            over.sort(~feedback, "lot", "key", "id", "at")
            .filter((pl.int_range(pl.len()).over("label") >= limit) & ~feedback)
            .sort("at")
        )
        return gone.select(
            "at", pl.lit("balance").alias("reason"), pl.lit(None, dtype=pl.String).alias("detail")
        )
