"""Trials: settings are drawn, the family is trained with them and scored on the validation
split. The test split is never read."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic import ValidationError

from feilun.core.artifacts import Model
from feilun.core.config import explain
from feilun.core.errors import Busy, Damaged, FeilunError, Full
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models import Family, Lesson
from feilun.models.space import with_settings
from feilun.stages.train.stage import fitted
from feilun.stages.train.study import Search, Study
from feilun.tasks.metrics import METRIC_NAMES

if TYPE_CHECKING:
    from optuna.trial import Trial

LOSS = "validation_loss"
ANSWERS = "validation.json"
"""`fitted` writes it."""


class EndedEarly(Exception):
    """The trial falls behind the others; it is given up."""


class TimeIsUp(Exception):
    """The time for the search is over in the middle of a trial."""


class Trials:
    """`Trials(…).go()` makes trials until all are made or the time is up; several processes may
    be at it at once, each with its own `worker` number."""

    def __init__(self, search: Search, study: Study, lesson: Lesson, run: Run) -> None:
        self.search, self.study, self.lesson, self.run = search, study, lesson, run
        self.until = math.inf
        """When the time is up, in seconds since 1970."""
        self.threads: int | None = None
        """What a family may use of the machine, where it has the setting and it is left out."""

    def ended(self, said: str) -> None:
        """Tells of a trial that has ended, and how far the search is."""
        done, total = len(self.study.settled), self.search.trials
        self.run.say(said)
        self.run.progress(done, total, _("trial {done} of {total}").format(done=done, total=total))

    def go(self, worker: int = 0) -> None:
        """Makes trials."""
        while time.time() < self.until:
            with self.study.clear():
                trial = self.study.next(worker)
                if trial is None:
                    return
                self._one(trial)

    def score(self, settings: dict[str, Any]) -> float:
        """How the family does on the validation split with these settings; from the last time
        where they were tried before."""
        family = self._family(settings)
        return self._score(family, _Timed(self, self.run.within(_name(family))))

    def answers(self, settings: dict[str, Any]) -> list[str | None] | None:
        """What a model with these settings answered on the validation split, where that is
        still known."""
        path = self.run.folder / _name(self._family(settings)) / ANSWERS
        return json.loads(path.read_bytes()) if path.exists() else None

    def _one(self, trial: Trial) -> None:
        settings = self.search.settings(trial.params)
        try:
            how = self._tried(trial, self._family(settings))
        except TimeIsUp:
            self.study.put_back(trial)
            return
        except ValidationError as error:
            whys = (explain(one, type(self.search.family), {}) for one in error.errors())
            how = "; ".join(whys)
            self.study.failed(trial, how)
        written = ", ".join(f"{name} = {json.dumps(v)}" for name, v in settings.items())
        self.ended(
            _("trial {number}: {how} with {settings}").format(
                number=trial.number, how=how, settings=written
            )
        )

    def _tried(self, trial: Trial, family: Family) -> str:
        """What became of a trial, in words; it is in the study by then."""
        run = _Watched(self, trial, self.run.within(_name(family)))
        try:
            score = self._score(family, run)
        except EndedEarly:
            shutil.rmtree(run.folder, ignore_errors=True)
            self.study.ended_early(trial)
            return _("given up early")
        except (Full, Busy, Damaged):
            raise
        except FeilunError as error:
            shutil.rmtree(run.folder, ignore_errors=True)
            self.study.failed(trial, error.message)
            return error.message
        if not math.isfinite(score):
            why = _("the score is no number")
            self.study.failed(trial, why)
            return why
        self.study.scored(trial, score)
        return f"{_(METRIC_NAMES[self.search.metric])} {score:.4f}"

    def _family(self, settings: dict[str, Any]) -> Family:
        return with_settings(self.search.base, settings)

    def _sharing(self, family: Family) -> Family:
        """The family with its share of the machine, unless it has its own word on that."""
        if self.threads is None or getattr(family, "threads", 0) is not None:
            return family
        return family.model_copy(update={"threads": self.threads})

    def _score(self, family: Family, run: Run) -> float:
        answers = fitted(self._sharing(family), self.lesson, run)
        for path in run.folder.iterdir():
            # Of hundreds of models only the answers are worth their room.
            if path.name != ANSWERS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        task = self.lesson.task
        truth = task.truth(self.lesson.validation)
        found = task.evaluate(truth, answers, self.lesson.labels, seed=run.seed)
        return found.metrics[self.search.metric].value


def _name(family: Family) -> str:
    """A folder's name, by the settings: what was trained is not trained again, and what was
    killed goes on where it was."""
    written = json.dumps(family.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(written.encode()).hexdigest()[:16]


class _Timed(Run):
    """A run that stops when the time is up, and whose trainings are silent: what each of
    hundreds says is too much."""

    def __init__(self, trials: Trials, inner: Run) -> None:
        self._trials, self._inner = trials, inner
        self.seed, self.root, self.folder = inner.seed, inner.root, inner.folder

    def within(self, name: str) -> Run:
        return _Timed(self._trials, self._inner.within(name))

    def progress(self, done: float, total: float, what: str = "") -> None:
        if time.time() >= self._trials.until:
            raise TimeIsUp

    def say(self, message: str) -> None:
        pass

    def log(self, metric: str, value: float, step: int = 0) -> None:
        self._inner.log(metric, value, step)

    def drop(self, frame: pl.DataFrame, step: str, reason: str) -> None:
        self._inner.drop(frame, step, reason)

    def dropped(self) -> pl.DataFrame:
        return self._inner.dropped()

    def spend(self, amount: float, what: str) -> None:
        self._inner.spend(amount, what)

    def keep(self, content: bytes | Path) -> str:
        return self._inner.keep(content)

    def file(self, digest: str) -> Path:
        return self._inner.file(digest)

    def unpack(self, model: Model) -> Path:
        return self._inner.unpack(model)


class _Watched(_Timed):
    """The run of a trial: by the figures that the family logs on the way it may be given up.
    What parts of it log (members of a stack) does not count."""

    def __init__(self, trials: Trials, trial: Trial, inner: Run) -> None:
        super().__init__(trials, inner)
        self._trial = trial
        self._loss: tuple[int, float] | None = None
        self._by_metric = False

    def log(self, metric: str, value: float, step: int = 0) -> None:
        super().log(metric, value, step)
        if metric == f"validation_{self._trials.search.metric}":
            self._by_metric = True
            self._report(metric, value, step)
        elif metric == LOSS and not self._by_metric:
            # The metric itself, where it is logged, comes after the loss of the same step.
            if self._loss is not None and self._loss[0] < step:
                before, loss = self._loss
                self._report(LOSS, loss if self._trials.search.down else -loss, before)
            self._loss = (step, value)

    def _report(self, name: str, value: float, step: int) -> None:
        """Compared with other trials at the same validation, counted; at the same step would
        not do, for with another batch size there are more of them."""
        rows = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        logged = {row["step"] for row in map(json.loads, rows) if row["metric"] == name}
        if math.isfinite(value):
            self._trial.report(value, sum(at < step for at in logged))
        if self._trial.should_prune():
            raise EndedEarly
