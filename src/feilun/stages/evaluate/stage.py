"""Evaluate: a model, and the live one beside it, on the frozen test → a report."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

import polars as pl
from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Dataset, Model, Report
from feilun.core.records import parquet, read_shards
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.models import load
from feilun.stages.evaluate.calibration import Calibration
from feilun.stages.evaluate.check import Check
from feilun.tasks import Classify, Prediction
from feilun.tasks.metrics import evaluate


class EvaluateGiven(NamedTuple):
    """The candidate, the dataset whose test it faces, and the model that is live (if any)."""

    model: Model
    dataset: Dataset
    live: Model | None


class Evaluate(Stage[EvaluateGiven, Report]):
    """Accuracy, macro-F1, per-label precision, recall and F1, and what the checks measure; each
    with a bootstrap interval."""

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
        test = read_shards(run.file(digest) for digest in given.dataset.shards("test"))
        truth = test["label"].to_list()
        labels = sorted({*given.dataset.labels, *given.model.labels, *truth})
        answers = self._answers(given.model, test["text"].to_list(), run)
        outcomes = test.select("id", "text", truth="label").with_columns(
            predicted=pl.Series([a.label for a in answers], dtype=pl.String),
            score=pl.Series([a.score for a in answers], dtype=pl.Float64),
        )
        found = evaluate(
            truth,
            outcomes["predicted"].to_list(),
            labels,
            seed=run.seed,
            confidence=self.confidence,
        )
        metrics = dict(found.metrics)
        for check in self.checks:
            metrics |= check.measure(outcomes, self.confidence, run.seed)
        live_metrics = {}
        if given.live is not None:
            before = [a.label for a in self._answers(given.live, test["text"].to_list(), run)]
            outcomes = outcomes.with_columns(live=pl.Series(before, dtype=pl.String))
            live_metrics = evaluate(
                truth, before, labels, seed=run.seed, confidence=self.confidence
            ).metrics
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

    def _answers(self, model: Model, texts: list[str], run: Run) -> list[Prediction]:
        predictor = load(run.unpack(model))
        return Classify().predictions(texts, predictor.labels, predictor.scores(texts))
