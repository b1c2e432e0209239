"""Evaluate: a model, and the live one beside it, on the frozen test → a report."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Dataset, Interval, Model, Report
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.models import load
from feilun.models.levels import Levelled, Ready
from feilun.stages.evaluate import levels
from feilun.stages.evaluate.calibration import Calibration
from feilun.stages.evaluate.check import Check
from feilun.tasks import Task, task_named

if TYPE_CHECKING:
    import polars as pl


class EvaluateGiven(NamedTuple):
    """The candidate, the dataset whose test it faces, and the model that is live (if any)."""

    model: Model
    dataset: Dataset
    live: Model | None


class Evaluate(Stage[EvaluateGiven, Report]):
    """The metrics of the task, precision, recall and F1 per label, and what the checks measure;
    each with a bootstrap interval."""

    use: ClassVar[str] = "evaluate"

    confidence: float = Field(0.95, gt=0.5, lt=1, description="of every interval")
    checks: tuple[SerializeAsAny[Check], ...] = Field(
        (Calibration(),), description="what is measured besides"
    )

    def inputs(self, given: EvaluateGiven, root: Path) -> dict[str, str]:
        """The models and the test."""
        found = {"model": given.model.digest, "dataset": given.dataset.digest}
        return found | ({"live": given.live.digest} if given.live else {})

    def run(self, given: EvaluateGiven, run: Run) -> Report:
        """The figures, and `outcomes.parquet` with every answer on the test."""
        import polars as pl

        from feilun.core.records import parquet, read_shards

        test = read_shards(run.file(digest) for digest in given.dataset.shards("test"))
        task = task_named(given.dataset.task)
        truth = task.truth(test)
        labels = sorted({*given.dataset.labels, *given.model.labels, *task.labels(test)})
        inputs = task.inputs(test)
        model = load(run.unpack(given.model))
        routed = None
        if isinstance(model, Levelled):
            answers, routed = levels.answered(model, task, inputs, run)
        else:
            answers = task.answers(model, inputs)
        outcomes = test.select("id", "text").with_columns(
            truth=pl.Series(truth, dtype=pl.String),
            predicted=pl.Series([a.written for a in answers], dtype=pl.String),
            score=pl.Series([a.score for a in answers], dtype=pl.Float64),
        )
        measured = partial(task.evaluate, seed=run.seed, confidence=self.confidence)
        found = measured(truth, outcomes["predicted"].to_list(), labels)
        metrics = dict(found.metrics)
        for check in (one for one in self.checks if task.use in one.tasks):
            metrics |= check.measure(outcomes, self.confidence, run.seed)
        if isinstance(model, Levelled) and routed is not None and test.height:
            outcomes = outcomes.with_columns(level=pl.Series(routed.levels, dtype=pl.Int64))
            metrics |= self._levels(model, task, test, outcomes, run)
        live_metrics = {}
        if given.live is not None:
            before = [a.written for a in task.answers(load(run.unpack(given.live)), inputs)]
            outcomes = outcomes.with_columns(live=pl.Series(before, dtype=pl.String))
            live_metrics = measured(truth, before, labels).metrics
        return Report(
            files={"outcomes.parquet": run.keep(parquet(outcomes.drop("text")))},
            parents=(given.model.digest, given.dataset.digest),
            made_by=self.model_dump(mode="json"),
            model=given.model.digest,
            test=" ".join(given.dataset.shards("test")),
            num_test=test.height,
            confidence=self.confidence,
            metrics=metrics,
            per_label=found.per_label,
            confusion=found.confusion,
            live=given.live.digest if given.live else None,
            live_metrics=live_metrics,
        )

    def _levels(
        self, model: Levelled, task: Task, test: pl.DataFrame, outcomes: pl.DataFrame, run: Run
    ) -> dict[str, Interval]:
        """The figures of each level, beside what the last one alone would have answered."""
        started = time.perf_counter()
        inputs = task.inputs(test)
        alone = task.answers(Ready(model.labels, model.last(inputs)), inputs)
        run.spend(time.perf_counter() - started, levels.LAST + levels.SECONDS)
        run.spend(float(test.height), levels.LAST + levels.RECORDS)
        truth = outcomes["truth"].to_list()
        right = [p == t for p, t in zip(outcomes["predicted"].to_list(), truth, strict=True)]
        last = [one.written == t for one, t in zip(alone, truth, strict=True)]
        return levels.measured(
            model.names,
            outcomes["level"].to_numpy(),
            np.array(right, dtype=bool),
            np.array(last, dtype=bool),
            self.confidence,
            run.seed,
        )
