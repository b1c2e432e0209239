"""Trials in several processes at once, on one database.

A process tells what became of each trial. When its parent dies so does it; what it was at is
tried again.
"""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import Any

from feilun.core.artifacts import Dataset, Model
from feilun.core.compiled import usable_cores
from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.stages.train import Train, TrainGiven
from feilun.stages.train.study import Search, Study
from feilun.stages.train.trial import Trials
from feilun.store import Blobs
from feilun.store.disk import lock
from feilun.wheel.child import Child, Tell, Told, live
from feilun.wheel.runner import LocalRun

PROGRAM = "from feilun.wheel.tuners import main; main()"
WAIT_SECONDS = 30.0
"""For a process whose parent was killed to see that."""


class TunerGone(FeilunError):
    """A process that tries settings ended by an error of its own, or was killed at once."""

    def __init__(self, code: int) -> None:
        super().__init__(
            _("A worker of tune ended by itself (exit code {code}).").format(code=code),
            remedy="feilun tune --workers 1",
        )


class Tuners:
    """`count` processes that make the trials of a search."""

    def __init__(self, trials: Trials, count: int, train: Train, given: TrainGiven) -> None:
        self._trials, self._count = trials, count
        self._train, self._given = train, given

    def await_predecessors(self) -> None:
        """Returns when no process of a killed search is at work any more."""
        for path in self._trials.run.folder.glob("worker-*.lock"):
            with lock(path, what=path.name, wait_seconds=WAIT_SECONDS):
                pass

    def go(self) -> None:
        """Makes trials until all are made or the time is up. What a process was at that was
        killed is tried again; raises `TunerGone` when that helps nothing."""
        study = self._trials.study
        while True:
            before = len(study.settled)
            codes = self._round()
            left = study.recover()
            if not any(codes):
                return
            # A signal has a number below 0; above it is an error that would come again.
            if max(codes) > 0 or (not left and len(study.settled) == before):
                raise TunerGone(max(codes) or min(codes))

    def _round(self) -> list[int]:
        """The exit codes of the processes once all have ended."""
        count = min(self._count, self._trials.search.trials)
        told: Told = SimpleQueue()
        processes = [self._started(number, told) for number in range(count)]
        ended, error = 0, None
        try:
            while ended < count:
                answer = told.get()
                if answer is None:
                    ended += 1
                elif "error" in answer:
                    error = error or answer
                    for process in processes:
                        process.let_go()
                else:
                    self._trials.ended(answer["said"])
        finally:
            for process in processes:
                process.let_go()
            codes = [process.wait() for process in processes]
        if error is not None:
            kinds = {kind.kind: kind for kind in FeilunError.__subclasses__()}
            raise kinds.get(error["kind"], FeilunError)(error["error"], remedy=error["remedy"])
        return codes

    def _started(self, number: int, told: Told) -> Child:
        threads = max(1, usable_cores() // self._count)
        trials, run = self._trials, self._trials.run
        setup = {
            "search": trials.search.model_dump(mode="json"),
            "train": self._train.model_dump(mode="json"),
            "dataset": self._given.dataset.model_dump(mode="json"),
            "teacher": self._given.teacher and self._given.teacher.model_dump(mode="json"),
            "database": str(trials.study.path),
            "blobs": str(trials.study.path.parent / "blobs"),
            "root": str(run.root),
            "folder": str(run.folder),
            "until": trials.until,
            "threads": threads,
            "worker": number,
        }
        return Child(PROGRAM, setup, told, {"POLARS_MAX_THREADS": str(threads)})


def work(setup: dict[str, Any], tell: Tell) -> None:
    """What one process does: trials, until all are made or the time is up."""
    root, folder = Path(setup["root"]), Path(setup["folder"])
    search = Search.model_validate(setup["search"])
    blobs = Blobs(Path(setup["blobs"]))
    run = LocalRun("train", seed=search.seed, root=root, folder=folder, blobs=blobs)
    with lock(folder / f"worker-{setup['worker']}.lock", what="tune", wait_seconds=WAIT_SECONDS):
        teacher = setup["teacher"] and Model.model_validate(setup["teacher"])
        given = TrainGiven(Dataset.model_validate(setup["dataset"]), teacher)
        # What a teacher answered is in the folder by now: it is not asked again.
        lesson = Train.model_validate(setup["train"]).lesson(given, run)
        study = Study(search, Path(setup["database"]))
        trials = Trials(search, study, lesson, run)
        trials.until, trials.threads = setup["until"], setup["threads"]
        trials.ended = lambda said: tell({"said": said})  # type: ignore[method-assign]
        trials.go(setup["worker"])
        study.close()


def main() -> None:
    """A process that makes trials. When it ends with its parent nothing is lost: the trial under
    way is tried again, every other one is in the database."""
    live(work)
