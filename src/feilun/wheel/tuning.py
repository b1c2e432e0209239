"""`feilun tune`: the search over the settings of a family, and what came of it.

Every trial is in `.feilun/tune.db`, under a name made of all that decides its outcome: a search
that was killed, or whose time was up, goes on when it is asked for again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import closing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from feilun.core.artifacts import Gain, Model
from feilun.core.errors import Invalid, Missing
from feilun.core.i18n import _
from feilun.core.part import find
from feilun.models import Architecture, Family, Lesson
from feilun.models.space import Axis, check, placed
from feilun.stages.train import TrainGiven
from feilun.stages.train.plan import NotForTask, NotInstalled
from feilun.stages.train.study import NoOptuna, Search, Settled, Study
from feilun.stages.train.trial import Trials
from feilun.stages.train.tune import Tune
from feilun.store.disk import lock, write_file
from feilun.tasks.metrics import ERRORS
from feilun.wheel.rewrite import toml
from feilun.wheel.runner import LocalRun, Observer, Silent, fingerprint
from feilun.wheel.tuners import Tuners

if TYPE_CHECKING:
    from feilun.wheel.project import Project

DATABASE = "tune.db"


class NoFamily(Missing):
    """`auto` chooses among families, and has chosen none yet."""

    def __init__(self) -> None:
        super().__init__(
            _("[train] model is 'auto', which has chosen no family yet: nothing to tune."),
            remedy="feilun tune --family ngram",
        )


class NoSpace(Invalid):
    """Neither the file nor the family says what to try."""

    def __init__(self, family: str, task: str) -> None:
        super().__init__(
            _("'{family}' names no settings to try for the task {task}.").format(
                family=family, task=task
            ),
            remedy=_(
                "Set space = {{ NAME = [1, 2], OTHER = {{ low = 0, high = 1 }} }} under "
                "[train.tune], or: feilun tune --family ngram"
            ).format(),
        )


class Tuned(NamedTuple):
    """What came of a search.

    `now` is the score of the settings as they are; `best` the best trial (None: none was
    scored), and `gain` its lead, from a paired bootstrap. A lead that was sought on the very
    split it is measured on flatters itself: the test split tells. `model` is what the best
    trial would be as `[train] model`. `importances`: how much each setting decides.
    """

    dataset: str
    family: str
    metric: str
    wanted: int
    trials: tuple[Settled, ...]
    now: float
    best: Settled | None
    gain: Gain | None
    model: dict[str, Any]
    importances: dict[str, float]

    @property
    def better(self) -> bool:
        """Whether the best trial did better than the settings as they are."""
        if self.best is None or self.best.score is None:
            return False
        lead = self.best.score - self.now
        return lead < 0 if self.metric in ERRORS else lead > 0

    @property
    def snippet(self) -> str:
        """The best settings, to be put into `feilun.toml`."""
        return f"[train]\nmodel = {toml(self.model)}\n"

    def shown(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            **self._asdict(),
            "trials": [one._asdict() for one in self.trials],
            "best": self.best and self.best._asdict(),
            "gain": self.gain and self.gain.model_dump(),
            "better": self.better,
            "snippet": self.snippet,
        }


def tune(
    project: Project,
    wanted: Mapping[str, Any],
    family: str | None = None,
    observer: Observer | None = None,
) -> Tuned:
    """Searches on the newest dataset: trains on its train split, scores on validation. What is
    `wanted` and not None goes before `[train.tune]`. Raises `NoOptuna`, `NoFamily`, `NoSpace`,
    `BadSpace`, `NotForTask`, `NotInstalled`, `Locked`."""
    if find_spec("optuna") is None:
        raise NoOptuna
    ref, dataset = project.dataset()
    train = project.settings.train
    own = {name: value for name, value in wanted.items() if value is not None}
    given = Tune.model_validate(train.tune.model_dump() | own)
    task = project.settings.project.task
    chosen = _able(_family(project, family), task.use)
    space = given.space or dict(chosen.space(task))
    if not space:
        raise NoSpace(chosen.use, task.use)
    check(space, chosen)
    metric = given.metric or train.metric or task.metrics[0]
    learnt = TrainGiven(dataset, _teacher(project))
    inputs = {
        **train.inputs(learnt, project.root),
        "space": json.dumps({k: axis.model_dump(mode="json") for k, axis in space.items()}),
        "metric": metric,
        "seed": str(project.settings.project.seed),
    }
    name = fingerprint(train.model_copy(update={"model": chosen}), inputs)[:16]
    watching = observer or Silent()
    watching.stage_began(train.use)
    with lock(project.folder / "tune.lock", what=project.settings.project.name):
        run = LocalRun(
            train.use,
            seed=project.settings.project.seed,
            root=project.root,
            folder=project.folder / "work" / f"tune-{name}",
            blobs=project.blobs,
            observer=watching,
        )
        lesson = train.lesson(learnt, run)
        search = Search(
            name=name,
            family=_settled(chosen, space, lesson, train.budget_seconds, run),
            space=space,
            metric=metric,
            seed=run.seed,
            trials=given.trials,
            sampler=given.sampler,
            pruner=given.pruner,
        )
        with closing(Study(search, project.folder / DATABASE)) as study:
            trials = Trials(search, study, lesson, run)
            now = _searched(trials, given, Tuners(trials, given.workers, train, learnt))
            return _found(trials, ref, chosen, now)


def _able(family: Family, task: str) -> Family:
    """The family; raises `NotForTask`, `NotInstalled`."""
    if task not in family.tasks:
        raise NotForTask(family, task)
    if family.missing():
        raise NotInstalled(family)
    return family


def _family(project: Project, name: str | None) -> Family:
    """The family to tune: the one named, with its settings in the file if it is there; else
    that of the file; where that is `auto`, the one it chose last."""
    model = project.settings.train.model
    if name is None and not isinstance(model, Family):
        newest = project.control.artifacts("model", 1)
        if not newest:
            raise NoFamily
        name = cast(Model, newest[0].artifact).architecture
    if name is None or model.use == name:
        return cast(Family, model)
    return cast(type[Family], find("family", name))()


def _teacher(project: Project) -> Model | None:
    """The model of this project that teaches, if one does."""
    distil = project.settings.train.distil
    named = distil.teacher.reference() if distil else None
    return cast(Model, project.get(named)) if named else None


def _settled(
    family: Family, space: Mapping[str, Axis], lesson: Lesson, budget: float, run: LocalRun
) -> Family:
    """The family with the choices made that it would else make by measuring (`size = "auto"`):
    once, and written down, so that every trial has the same."""
    path = run.folder / "base.json"
    if not path.exists():
        fields = type(family).model_fields
        open_ = [n for n in fields if getattr(family, n) == "auto" and n not in space]
        if open_:
            found = family.estimate(lesson, budget, run.within("estimate")).family
            family = family.model_copy(update={name: getattr(found, name) for name in open_})
        write_file(path, family.model_dump_json().encode())
    made = Architecture.model_validate_json(path.read_bytes())
    assert isinstance(made, Family)
    return made


def _searched(trials: Trials, given: Tune, tuners: Tuners) -> float:
    """Makes the trials; returns the score of the settings as they are."""
    study, run = trials.study, trials.run
    tuners.await_predecessors()
    study.recover()
    if given.seconds is not None:
        until = time.time() + given.seconds
    now = study.note("now")
    if now is None:
        run.progress(0, given.trials, _("the settings as they are"))
        now = study.note("now", trials.score({}))
    if given.seconds is not None:
        trials.until = until
    if given.workers > 1:
        tuners.go()
    else:
        trials.go()
    return float(now)


def _found(trials: Trials, ref: str, family: Family, now: float) -> Tuned:
    search, lesson = trials.search, trials.lesson
    best = trials.study.best
    gain = None
    model = _written(family, search, {})
    if best is not None:
        model = _written(family, search, best.settings)
        answers = [trials.answers(settings) for settings in (best.settings, {})]
        if answers[0] is not None and answers[1] is not None:
            gain = lesson.task.gain(
                lesson.task.truth(lesson.validation),
                answers[0],
                answers[1],
                metric=search.metric,
                against=_("the settings as they are"),
                seed=search.seed,
            )
    return Tuned(
        dataset=ref,
        family=family.use,
        metric=search.metric,
        wanted=search.trials,
        trials=tuple(trials.study.settled),
        now=now,
        best=best,
        gain=gain,
        model=model,
        importances=trials.study.importances(),
    )


def _written(family: Family, search: Search, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`[train] model` with these settings: what the file says now, the choices that were open,
    and the settings."""
    written: dict[str, Any] = {
        "architecture": family.use,
        **family.model_dump(mode="json", exclude_defaults=True),
    }
    for name in type(family).model_fields:
        if getattr(family, name) != getattr(search.base, name):
            written[name] = search.base.model_dump(mode="json")[name]
    if any("." in key for key in settings):
        # A setting within another: that one is written whole.
        whole = search.base.model_dump(mode="json")
        written |= {key.split(".")[0]: whole[key.split(".")[0]] for key in settings if "." in key}
    found: dict[str, Any] = _without_none(placed(written, settings))
    return found


def _without_none(value: Any) -> Any:
    """TOML has no null: a setting left out is not written."""
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list) else value
