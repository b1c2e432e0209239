"""Work on shards, in this process or in others beside it.

A worker is this module run by the same Python; it is told what to do in lines of JSON and answers
in lines of JSON, so nothing is pickled and a script that opens a project needs no guard around
its main part. When its parent dies, its input ends, and so does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from feilun.core.compiled import usable_cores
from feilun.core.errors import FeilunError
from feilun.core.i18n import _, language

Task = dict[str, Any]
PROGRAM = "from feilun.stages.prepare.workers import main; main()"
"""Not `-m`: the package has this module loaded by then, which Python warns of."""


class WorkerGone(FeilunError):
    """A worker process ended in the middle of its work: killed, or out of memory."""

    def __init__(self, code: int | None) -> None:
        super().__init__(
            _(
                "A worker of prepare ended by itself (exit code {code}); often memory ran out."
            ).format(code=code),
            remedy=_("Set workers = 1 under [prepare], then run the same command again."),
        )


class Workers:
    """`with Workers(setup, count) as workers: for task, answer in workers.map(tasks): …`

    `count` processes; where that is one, `threads` of this one, which start at once but share
    what is not compiled.
    """

    def __init__(self, setup: Task, count: int, threads: int = 1) -> None:
        self._setup = setup
        self._count = count
        self._threads = threads
        self._idle: SimpleQueue[subprocess.Popen[str]] = SimpleQueue()
        self._all: list[subprocess.Popen[str]] = []
        self._act: Callable[[Task], Task] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.rest()

    def rest(self) -> None:
        """Ends the processes, which gives their memory back; the next `map` starts new ones."""
        for process in self._all:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()
        for process in self._all:
            process.wait()
        self._all, self._idle = [], SimpleQueue()

    def map(self, tasks: list[Task]) -> Iterator[tuple[Task, Task]]:
        """Each task with its answer, as they are done."""
        most = self._threads if self._count < 2 else self._count
        count = min(most, len(tasks))
        act: Callable[[Task], Task] = self._ask
        if self._count < 2 or count < 2:
            act = self._act = self._act or performer(self._setup)
        if count < 2:
            for task in tasks:
                yield task, act(task)
            return
        while act == self._ask and len(self._all) < count:
            self._idle.put(self._started())
        with ThreadPoolExecutor(count) as pool:
            # Each in the caller's context: the language of messages is in it.
            waiting = {pool.submit(copy_context().run, act, task): task for task in tasks}
            try:
                for done in as_completed(waiting):
                    yield waiting[done], done.result()
            finally:
                for future in waiting:
                    future.cancel()

    def _started(self) -> subprocess.Popen[str]:
        process = _start(self._setup, max(1, usable_cores() // self._count))
        self._all.append(process)
        return process

    def _ask(self, task: Task) -> Task:
        process = self._idle.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps(task), file=process.stdin, flush=True)
            line = process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise WorkerGone(process.wait())
        self._idle.put(process)
        answer: Task = json.loads(line)
        if "error" in answer:
            kinds = {kind.kind: kind for kind in FeilunError.__subclasses__()}
            raise kinds.get(answer["kind"], FeilunError)(answer["error"], remedy=answer["remedy"])
        return answer


def _start(setup: Task, threads: int) -> subprocess.Popen[str]:
    environment = os.environ | {
        "POLARS_MAX_THREADS": str(threads),
        "FEILUN_LANG": language(),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    process = subprocess.Popen(
        # -P: a file of the user's folder must not stand for a module of the same name.
        [sys.executable, "-P", "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    )
    assert process.stdin is not None
    print(json.dumps(setup), file=process.stdin, flush=True)
    return process


def performer(setup: Task) -> Callable[[Task], Task]:
    """What does the tasks of one run of prepare."""
    from feilun.stages.prepare.stage import Prepare
    from feilun.stages.prepare.tasks import Tasks
    from feilun.tasks import task_named

    prepare = setup["prepare"]
    task = task_named(setup.get("task", ""))
    if isinstance(prepare, dict):
        prepare = Prepare.model_validate(prepare)
    return Tasks(
        prepare.fitted(task),
        seed=setup["seed"],
        root=Path(setup["root"]),
        folder=Path(setup["folder"]),
        task=task,
    ).do


def main() -> None:
    """A worker: a line of JSON in, a line of JSON out, until the input ends."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        act = performer(json.loads(sys.stdin.readline()))
        for line in sys.stdin:
            try:
                answer = act(json.loads(line))
            except FeilunError as error:
                answer = {"error": error.message, "kind": error.kind, "remedy": error.remedy}
            print(json.dumps(answer), file=answers, flush=True)
