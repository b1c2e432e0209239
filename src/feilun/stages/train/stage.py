"""Train: estimate the candidates, train what fits the budget, keep what validates best.

The plan (which candidates, with which settings) is measured once and written down before the
first one trains: a killed turn that goes on, or `feilun reproduce`, follows the same plan and
so ends with the same bytes, however fast the machine is that day.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import polars as pl
from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Candidate, Dataset, Model
from feilun.core.errors import Invalid
from feilun.core.i18n import N_, _
from feilun.core.message import Message
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.models import Architecture, Auto, Family, load
from feilun.store.disk import write_file
from feilun.tasks import Classify
from feilun.tasks.metrics import METRICS, confusion


class NotInstalled(Invalid):
    """The model family needs packages that are not installed."""

    def __init__(self, family: Family) -> None:
        super().__init__(
            _("Training '{family}' needs {packages}, which are not installed here.").format(
                family=family.use, packages=", ".join(family.missing())
            ),
            remedy="pip install 'feilun[train]'",
        )


class Planned(NamedTuple):
    """One candidate with its choices made, its predicted seconds, or why it is left out."""

    family: Family
    seconds: float
    left_out: Message | None


class Train(Stage[Dataset, Model]):
    """The best of the candidates on the validation split."""

    use: ClassVar[str] = "train"

    budget_seconds: float = Field(300.0, gt=0, description="for all candidates together")
    metric: Literal["accuracy", "macro_f1"] = "accuracy"
    model: SerializeAsAny[Architecture] = Auto()

    def inputs(self, given: Dataset, root: Path) -> dict[str, str]:
        """The dataset."""
        return {"dataset": given.digest}

    def run(self, given: Dataset, run: Run) -> Model:
        """The winner's folder as files; every candidate with its validation score."""
        frames = {
            name: pl.read_parquet(run.file(given.files[f"{name}.parquet"]))
            for name in ("train", "validation")
        }
        tried: list[tuple[Candidate, Path]] = []
        for number, plan in enumerate(self._plan(frames["train"], run)):
            settings = plan.family.model_dump(mode="json")
            candidate = Candidate(
                architecture=plan.family.use, settings=settings, left_out=plan.left_out
            )
            inner = run.within(f"{number}-{plan.family.use}")
            if plan.left_out is None:
                score = self._fit(plan.family, frames, given.labels, inner)
                candidate = candidate.model_copy(update={"score": score})
                run.say(
                    _("{architecture}: validation {metric} {score:.3f}").format(
                        architecture=plan.family.use, metric=self.metric, score=score
                    )
                )
            else:
                run.say(f"{plan.family.use}: {plan.left_out}")
            tried.append((candidate, inner.folder / "model"))
        # max() keeps the first of equals, and the cheapest is first.
        best, folder = max(
            (pair for pair in tried if pair[0].score is not None),
            key=lambda pair: pair[0].score or 0.0,
        )
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return Model(
            files={str(path.relative_to(folder)): run.keep(path) for path in files},
            parents=(given.digest,),
            made_by=self.model_copy(update={"model": _family(best)}).model_dump(mode="json"),
            task=Classify.use,
            architecture=best.architecture,
            labels=given.labels,
            metric=self.metric,
            validation={self.metric: best.score or 0.0},
            candidates=tuple(candidate for candidate, _folder in tried),
        )

    def _plan(self, train: pl.DataFrame, run: Run) -> list[Planned]:
        """The plan written down by a killed predecessor, or a new one, written down."""
        path = run.folder / "plan.json"
        if not path.exists():
            rows = [
                {
                    "family": plan.family.model_dump(mode="json"),
                    "seconds": plan.seconds,
                    "left_out": plan.left_out and plan.left_out.model_dump(mode="json"),
                }
                for plan in self._measure(train, run)
            ]
            write_file(path, json.dumps(rows, ensure_ascii=False).encode())
        return [
            Planned(
                _family_from(row["family"]),
                row["seconds"],
                row["left_out"] and Message.model_validate(row["left_out"]),
            )
            for row in json.loads(path.read_bytes())
        ]

    def _measure(self, train: pl.DataFrame, run: Run) -> list[Planned]:
        left = self.budget_seconds
        planned: list[Planned] = []
        candidates = self.model.candidates()
        for family in candidates:
            missing = family.missing()
            if missing and len(candidates) == 1:
                raise NotInstalled(family)
            if missing:
                reason = Message(
                    template=N_(
                        "not tried: {packages} not installed (pip install 'feilun[train]')"
                    ),
                    values={"packages": ", ".join(missing)},
                )
                planned.append(Planned(family, 0.0, reason))
                continue
            estimate = family.estimate(train, left, run.within(f"estimate-{family.use}"))
            # One candidate is always trained: a model late is worth more than none.
            fits = estimate.seconds <= left or not any(p.left_out is None for p in planned)
            late = (
                None
                if fits
                else Message(
                    template=N_("not tried: its training would not fit [train] budget_seconds"),
                )
            )
            planned.append(Planned(estimate.family, estimate.seconds, late))
            left -= estimate.seconds if fits else 0.0
        if all(plan.left_out is not None for plan in planned):
            raise NotInstalled(candidates[0])
        return planned

    def _fit(
        self, family: Family, frames: dict[str, pl.DataFrame], labels: tuple[str, ...], run: Run
    ) -> float:
        """The validation score of the trained family; trained already if its score is there."""
        done = run.folder / "score.json"
        if done.exists():
            return float(json.loads(done.read_bytes()))
        folder = run.folder / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        family.fit(frames["train"], frames["validation"], labels, folder, run)
        validation = frames["validation"]
        texts = validation["text"].to_list()
        answers = Classify().predictions(texts, labels, load(folder).scores(texts))
        predicted = [answer.label for answer in answers]
        score = float(
            METRICS[self.metric](confusion(validation["label"].to_list(), predicted, labels))
        )
        write_file(done, json.dumps(score).encode())
        return score


def _family(candidate: Candidate) -> Family:
    return _family_from(dict(candidate.settings))


def _family_from(settings: dict[str, object]) -> Family:
    family = Architecture.model_validate(settings)
    assert isinstance(family, Family)
    return family
