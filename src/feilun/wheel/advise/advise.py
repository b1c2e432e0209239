"""Probes what could be trained on the newest dataset, and advises.

Only the splits `train` and `validation` are looked at: the test stays unseen.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from feilun.core.errors import Invalid
from feilun.core.i18n import N_, _
from feilun.core.message import Message
from feilun.core.part import find, names
from feilun.models import Family, Lesson, Predictor
from feilun.models.stack import Stack
from feilun.stages.train import lesson_of
from feilun.stages.train.advise import parted, rule
from feilun.stages.train.plan import NotForTask
from feilun.store.disk import lock
from feilun.wheel.advise.advice import Advice
from feilun.wheel.advise.expecting import Given, Outcome, Rival
from feilun.wheel.advise.judging import advised
from feilun.wheel.advise.probing import Probing
from feilun.wheel.runner import LocalRun, Observer, Silent

if TYPE_CHECKING:
    from feilun.wheel.project import Project

SECONDS = 60.0
CHEAPEST = ("ngram", "mlp", "cnn", "frozen", "lstm", "transformer", "bert", "hub")
"""The order in which families are probed; others come after them."""
Asked = tuple[dict[str, Any], Family]


class NothingToValidate(Invalid):
    """No labelled record stands in the validation split, so nothing can be measured."""

    def __init__(self, dataset: str) -> None:
        super().__init__(
            _("{dataset} has no labelled record to validate on: nothing can be probed.").format(
                dataset=dataset
            ),
            remedy=_("Collect more labelled records, then: feilun turn --until prepare"),
        )


def advise(
    project: Project,
    families: Sequence[str] = (),
    seconds: float = SECONDS,
    observer: Observer | None = None,
) -> Advice:
    """Probes `families` (none: every one that can do the task) for `seconds` in all. Raises
    `NothingToValidate`, `NotForTask`, `PartNotFound`, `Locked`."""
    begun = time.monotonic()
    ref, dataset = project.dataset()
    watching = observer or Silent()
    train = project.settings.train
    watching.stage_began(train.use)
    folder = project.folder / "work" / "advise"
    with lock(project.folder / "advise.lock", what=project.settings.project.name):
        shutil.rmtree(folder, ignore_errors=True)
        run = LocalRun(
            train.use,
            seed=project.settings.project.seed,
            root=project.root,
            folder=folder,
            blobs=project.blobs,
            observer=watching,
        )
        try:
            lesson = lesson_of(dataset, run)
            if not lesson.validation.height or not lesson.train.height:
                raise NothingToValidate(ref)
            metric = train.metric or lesson.task.metrics[0]
            asked = _asked(train.model, lesson, families)
            rivals = _rivals(project, lesson, run.seed)
            ready = [one for one in asked if not one[1].missing()]
            probing = Probing(run, dataset, metric, train.budget_seconds, project.folder / "blobs")
            left = seconds - (time.monotonic() - begun)
            found = {one.family: one for one in probing.outcomes(ready, left)}
            outcomes = [found.get(family.use) or _absent(model, family) for model, family in asked]
            given = Given(
                ref, lesson, metric, train.budget_seconds, run.seed, time.monotonic() - begun
            )
            return advised(given, outcomes, rivals)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _asked(own: object, lesson: Lesson, wanted: Sequence[str]) -> list[Asked]:
    """The families to probe, each with its settings in the file if it is there."""
    others = [name for name in names("family") if name not in CHEAPEST]
    found: list[Asked] = []
    for name in wanted or (*CHEAPEST, *others):
        kind = find("family", name)
        if not issubclass(kind, Family) or issubclass(kind, Stack):
            if wanted:
                raise NotProbed(name)
            continue
        family = own if isinstance(own, kind) and own.use == name else kind()
        if lesson.task.use in family.tasks:
            settings = family.model_dump(mode="json", exclude_defaults=True)
            found.append(({"architecture": family.use, **_without_none(settings)}, family))
        elif wanted:
            raise NotForTask(family, lesson.task.use)
    return found


class NotProbed(Invalid):
    """The architecture is a choice among families, or made of others."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _("'{name}' is made of other families: only these can be probed.").format(name=name),
            remedy="feilun advise --family ngram",
        )


def _without_none(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _absent(model: dict[str, Any], family: Family) -> Outcome:
    template = N_("not tried: {packages} not installed (pip install 'feilun[train]')")
    values = {"packages": ", ".join(family.missing())}
    return Outcome(family.use, model, None, Message(template=template, values=values))


def _rivals(project: Project, lesson: Lesson, seed: int) -> list[Rival]:
    """What there is without training."""
    task, rows = lesson.task, lesson.validation
    parts = parted(lesson, seed)
    trivial = task.trivial(task.truth(parts.learnt))
    what = Message(template=N_("always «{answer}»"), values={"answer": trivial})
    found = [Rival("trivial", [trivial] * parts.asked.height, what)]
    if (best := rule(lesson._replace(train=parts.learnt, validation=parts.asked))) is not None:
        found.append(Rival("rule", best.answers, best.what))
    release = project.release
    if release is not None and release.model.task == task.named():
        model: Predictor = project.predictor(release.model)
        answers = [answer.written for answer in task.answers(model, task.inputs(rows))]
        what = Message(
            template=N_("{architecture} {digest}, live"),
            values={"architecture": release.model.architecture, "digest": release.model.short},
        )
        found.append(Rival("live", answers, what))
    return found
