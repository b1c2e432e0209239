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
from feilun.core.records import read_shards
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.models import Architecture, Auto, Family, load
from feilun.store.disk import sync_tree, write_file
from feilun.tasks import Classify
from feilun.tasks.metrics import METRIC_NAMES, METRICS, confusion, gain

CHOICE_CONFIDENCE = 0.9


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


class Tried(NamedTuple):
    """A candidate with its folder and its answers on the validation split (none: left out)."""

    candidate: Candidate
    family: Family
    folder: Path
    predicted: list[str | None]


class Train(Stage[Dataset, Model]):
    """The best of the candidates on the validation split."""

    use: ClassVar[str] = "train"

    budget_seconds: float = Field(300.0, gt=0, description="for all candidates together")
    metric: Literal["accuracy", "macro_f1"] = Field(
        "accuracy", description="by which candidates are compared"
    )
    model: SerializeAsAny[Architecture] = Field(
        Auto(), description="a family with its settings, or auto"
    )

    def inputs(self, given: Dataset, root: Path) -> dict[str, str]:
        """The dataset."""
        return {"dataset": given.digest}

    def run(self, given: Dataset, run: Run) -> Model:
        """The winner's folder as files; every candidate with its validation score."""
        frames = {
            name: read_shards(run.file(digest) for digest in given.shards(name))
            for name in ("train", "validation")
        }
        tried = [
            self._try(plan, frames, given.labels, run.within(f"{number}-{plan.family.use}"))
            for number, plan in enumerate(self._plan(frames["train"], run))
        ]
        best, why = self._choose(tried, frames["validation"]["label"].to_list(), run.seed)
        run.say(str(why))
        folder = best.folder
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return Model(
            files={str(path.relative_to(folder)): run.keep(path) for path in files},
            parents=(given.digest,),
            made_by=self.model_copy(update={"model": best.family}).model_dump(mode="json"),
            task=Classify.use,
            architecture=best.family.use,
            labels=given.labels,
            metric=self.metric,
            validation={self.metric: best.candidate.score or 0.0},
            candidates=tuple(one.candidate for one in tried),
            chosen_because=why,
        )

    def _try(
        self, plan: Planned, frames: dict[str, pl.DataFrame], labels: tuple[str, ...], run: Run
    ) -> Tried:
        settings = plan.family.model_dump(mode="json")
        candidate = Candidate(
            architecture=plan.family.use, settings=settings, left_out=plan.left_out
        )
        if plan.left_out is not None:
            run.say(
                _("{architecture}: {reason}").format(
                    architecture=plan.family.use, reason=plan.left_out
                )
            )
            return Tried(candidate, plan.family, run.folder, [])
        predicted = self._fit(plan.family, frames, labels, run)
        counts = confusion(frames["validation"]["label"].to_list(), predicted, labels)
        score = float(METRICS[self.metric](counts))
        run.say(
            _("{architecture}: validation {metric} {score:.3f}").format(
                architecture=plan.family.use, metric=_(METRIC_NAMES[self.metric]), score=score
            )
        )
        candidate = candidate.model_copy(update={"score": score})
        return Tried(candidate, plan.family, run.folder / "model", predicted)

    def _choose(self, tried: list[Tried], truth: list[str], seed: int) -> tuple[Tried, Message]:
        """The cheapest, unless a dearer one is better beyond chance: a validation split is small,
        and a family that stops early has seen it."""
        best, *others = [one for one in tried if one.candidate.score is not None]
        template = N_("chosen: the cheapest; nothing else tried is better beyond chance")
        why = Message(template=template if others else N_("chosen: the only one trained"))
        for other in others:
            lead = gain(
                truth,
                other.predicted,
                best.predicted,
                metric=self.metric,
                against=best.family.use,
                seed=seed,
                confidence=CHOICE_CONFIDENCE,
            )
            if lead.low > 0:
                best = other
                template = N_(
                    "chosen: {architecture} is better than {against} on the validation split, "
                    "{metric} {delta:+.3f} [{low:+.3f}, {high:+.3f}]"
                )
                values = {"architecture": other.family.use, **lead.model_dump()}
                why = Message(template=template, values=values, terms=("metric",))
        return best, why

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
    ) -> list[str | None]:
        """The trained family's answers on the validation split; it is trained already if they
        are there."""
        done = run.folder / "validation.json"
        if not done.exists():
            folder = run.folder / "model"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            family.fit(frames["train"], frames["validation"], labels, folder, run)
            # The answers below say that the model is there: it must be so after a power cut too.
            sync_tree(folder)
            texts = frames["validation"]["text"].to_list()
            answers = Classify().predictions(texts, labels, load(folder).scores(texts))
            write_file(done, json.dumps([answer.label for answer in answers]).encode())
        predicted: list[str | None] = json.loads(done.read_bytes())
        return predicted


def _family_from(settings: dict[str, object]) -> Family:
    family = Architecture.model_validate(settings)
    assert isinstance(family, Family)
    return family
