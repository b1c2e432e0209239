"""Train: estimate the candidates, train what fits the budget, keep what validates best.

The plan (which candidates, with which settings) is measured once and written down before the
first one trains: a killed turn that goes on, or `feilun reproduce`, follows the same plan and
so ends with the same bytes, however fast the machine is that day.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Candidate, Dataset, Model
from feilun.core.i18n import N_, _
from feilun.core.message import Message
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.models import Architecture, Auto, Family, Lesson, load
from feilun.stages.train.distil import Distil
from feilun.stages.train.plan import Planned, plan
from feilun.stages.train.tune import Tune
from feilun.store.disk import sync_tree, write_file
from feilun.tasks import task_named
from feilun.tasks.metrics import METRIC_NAMES

CHOICE_CONFIDENCE = 0.8


class TrainGiven(NamedTuple):
    """What is learnt from, and the model of this project that teaches (if one does)."""

    dataset: Dataset
    teacher: Model | None = None


class Tried(NamedTuple):
    """A candidate with its folder and its answers on the validation split (none: left out)."""

    candidate: Candidate
    family: Family
    folder: Path
    answers: list[str | None]


class Train(Stage[TrainGiven, Model]):
    """The best of the candidates on the validation split."""

    use: ClassVar[str] = "train"

    budget_seconds: float = Field(300.0, gt=0, description="for all candidates together")
    metric: str | None = Field(
        None, description="by which candidates are compared; left out: the task's first"
    )
    model: SerializeAsAny[Architecture] = Field(
        Auto(), description="a family with its settings, or auto"
    )
    distil: Distil | None = Field(
        None, description="a teacher, from whose answers is learnt besides; left out: none"
    )
    tune: Tune = Field(Tune(), exclude=True, description="what `feilun tune` tries")
    """Left out of what is written down: another search makes no other model."""

    def inputs(self, given: TrainGiven, root: Path) -> dict[str, str]:
        """The dataset, and who teaches."""
        found = {"dataset": given.dataset.digest}
        if self.distil is not None:
            found |= self.distil.teacher.reads(root)
        return found | ({"teacher": given.teacher.digest} if given.teacher else {})

    def run(self, given: TrainGiven, run: Run) -> Model:
        """The winner's folder as files; every candidate with its validation score."""
        dataset = given.dataset
        lesson = self.lesson(given, run)
        metric = self.metric or lesson.task.metrics[0]
        tried: list[Tried] = []
        for number, one in enumerate(plan(self.model, lesson, self.budget_seconds, run)):
            known = lesson._replace(
                trained=tuple((t.family, t.folder) for t in tried if t.candidate.score is not None)
            )
            tried.append(self._try(one, known, metric, run.within(f"{number}-{one.family.use}")))
        best, why = _choose(tried, lesson, metric, run.seed)
        run.say(str(why))
        folder = best.folder
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return Model(
            files={str(path.relative_to(folder)): run.keep(path) for path in files},
            parents=(dataset.digest,),
            made_by=self.model_copy(update={"model": best.family}).model_dump(mode="json"),
            task=dataset.task,
            architecture=best.family.use,
            labels=dataset.labels,
            metric=metric,
            validation={metric: best.candidate.score or 0.0},
            candidates=tuple(one.candidate for one in tried),
            chosen_because=why,
        )

    def lesson(self, given: TrainGiven, run: Run) -> Lesson:
        """What there is to learn from: the dataset, and what a teacher says of its unlabelled
        records."""
        lesson = lesson_of(given.dataset, run)
        if self.distil is None:
            return lesson
        return self.distil.taught(lesson, given.teacher, run.within("distil"))

    def _try(self, planned: Planned, lesson: Lesson, metric: str, run: Run) -> Tried:
        family = planned.family
        candidate = Candidate(
            architecture=family.use,
            settings=family.model_dump(mode="json"),
            left_out=planned.left_out,
        )
        if planned.left_out is not None:
            run.say(
                _("{architecture}: {reason}").format(
                    architecture=family.use, reason=planned.left_out
                )
            )
            return Tried(candidate, family, run.folder, [])
        answers = fitted(family, lesson, run)
        truth = lesson.task.truth(lesson.validation)
        found = lesson.task.evaluate(truth, answers, lesson.labels, seed=run.seed)
        score = found.metrics[metric].value
        run.say(
            _("{architecture}: validation {metric} {score:.3f}").format(
                architecture=family.use, metric=_(METRIC_NAMES[metric]), score=score
            )
        )
        candidate = candidate.model_copy(update={"score": score})
        return Tried(candidate, family, run.folder / "model", answers)


def lesson_of(dataset: Dataset, run: Run) -> Lesson:
    """What there is to learn from in a dataset."""
    from feilun.core.records import read_shards

    train, validation = (
        read_shards(run.file(digest) for digest in dataset.shards(name))
        for name in ("train", "validation")
    )
    unlabelled = tuple(run.file(digest) for digest in dataset.shards("unlabelled"))
    return Lesson(train, validation, dataset.labels, task_named(dataset.task), unlabelled)


def _choose(tried: list[Tried], lesson: Lesson, metric: str, seed: int) -> tuple[Tried, Message]:
    """The cheapest, unless a dearer one is better beyond chance: a validation split is small,
    and a family that stops early has seen it."""
    best, *others = [one for one in tried if one.candidate.score is not None]
    template = N_("chosen: the cheapest; nothing else tried is better beyond chance")
    why = Message(template=template if others else N_("chosen: the only one trained"))
    truth = lesson.task.truth(lesson.validation)
    for other in others:
        lead = lesson.task.gain(
            truth,
            other.answers,
            best.answers,
            metric=metric,
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


def fitted(family: Family, lesson: Lesson, run: Run) -> list[str | None]:
    """The trained family's answers on the validation split; it is trained already if they are
    there."""
    done = run.folder / "validation.json"
    if not done.exists():
        folder = run.folder / "model"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        family.fit(lesson, folder, run)
        # The answers below say that the model is there: it must be so after a power cut too.
        sync_tree(folder)
        answers = lesson.task.answers(load(folder), lesson.task.inputs(lesson.validation))
        write_file(done, json.dumps([answer.written for answer in answers]).encode())
    written: list[str | None] = json.loads(done.read_bytes())
    return written
