"""Release: judge a candidate by the policy."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Dataset, Report, Verdict
from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.release.better import Better
from feilun.stages.release.rule import Case, Rule
from feilun.tasks import task_named

LIVE, MAJORITY, TRIVIAL = N_("live"), N_("majority"), N_("the same answer to all")


class GateGiven(NamedTuple):
    """The candidate's report, the dataset it was trained on, and whether it was live before and
    was rolled back."""

    report: Report
    dataset: Dataset
    withdrawn: bool = False


class Gate(Stage[GateGiven, Verdict]):
    """Measures the gain on the frozen test, then asks every rule."""

    use: ClassVar[str] = "release"

    metric: str | None = Field(None, description="what must gain; left out: the task's first")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the gain's interval")
    rules: tuple[SerializeAsAny[Rule], ...] = Field((Better(),), description="all must pass")

    def inputs(self, given: GateGiven, root: Path) -> dict[str, str]:
        """The report and the dataset."""
        return {"report": given.report.digest, "dataset": given.dataset.digest}

    def run(self, given: GateGiven, run: Run) -> Verdict:
        """The verdict; nothing is moved here."""
        import polars as pl

        from feilun.core.records import read_shards

        if given.report.live == given.report.model:
            reason = Message(template=N_("the candidate is the model that is live already"))
            return Verdict(released=False, reasons=(reason,))
        if given.withdrawn:
            reason = Message(template=N_("the candidate was live before and was rolled back"))
            return Verdict(released=False, reasons=(reason,))
        outcomes = pl.read_parquet(run.file(given.report.files["outcomes.parquet"]))
        task = task_named(given.dataset.task)
        if given.report.live:
            other, against = outcomes["live"].to_list(), LIVE
        else:
            train = read_shards(run.file(digest) for digest in given.dataset.shards("train"))
            other = [task.trivial(task.truth(train))] * outcomes.height
            against = MAJORITY if task.exclusive else TRIVIAL
        lead = task.gain(
            outcomes["truth"].to_list(),
            outcomes["predicted"].to_list(),
            other,
            metric=self.metric or task.metrics[0],
            against=against,
            seed=run.seed,
            confidence=self.confidence,
        )
        rulings = [rule.judge(Case(given.report, lead)) for rule in self.rules]
        return Verdict(
            released=all(ruling.passed for ruling in rulings),
            reasons=tuple(ruling.reason for ruling in rulings),
            gain=lead,
        )
