"""A model that answers in the shadow: off the critical path, and only when there is room.

A share of the requests that were answered is put to it afterwards, in a thread that waits until
the engine has nothing to do. What it answers is logged under the route `shadow`, beside the
answer that was given, and is given to nobody.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from feilun.core.errors import FeilunError
from feilun.models import Predictor
from feilun.store.events import EventLog, PredictionRow
from feilun.store.events.vault import REMOVED
from feilun.tasks import Task, written_scores
from feilun.tasks.task import Input
from feilun.wheel.shadow import ROUTE, identity

WAITING = 64
"""Requests that may wait for it; more are left out."""
PATIENCE_SECONDS, LOOK_SECONDS = 2.0, 0.005
"""How long one waits for the engine to be idle before it is left out, and how often it looks."""
log = logging.getLogger("feilun.service")


class _Work(NamedTuple):
    inputs: Sequence[Input]
    rows: Sequence[PredictionRow]


class Shadow:
    """The shadow model, if there is one, and the thread that asks it.

    `share` of the requests are taken, evenly; `idle` says whether the engine has room.
    """

    def __init__(
        self, task: Task, events: Callable[[], EventLog], share: float, idle: Callable[[], bool]
    ) -> None:
        self._task = task
        self._events = events
        self._share = share
        self._idle = idle
        self._due = 0.0
        self._loaded: tuple[str, Predictor] | None = None
        self._queue: queue.Queue[_Work | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.left_out = 0
        """Requests that were to be asked and were not, for want of room."""

    @property
    def model(self) -> str | None:
        """The digest of the shadow model."""
        return self._loaded[0] if self._loaded else None

    def load(self, digest: str, predictor: Predictor) -> None:
        """From now on `predictor` answers in the shadow."""
        self._task.answers(predictor, [self._task.example])
        self._loaded = (digest, predictor)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
            self._thread.start()

    def unload(self) -> None:
        """From now on nobody answers in the shadow."""
        self._loaded = None

    def offer(self, inputs: Sequence[Input], rows: Sequence[PredictionRow]) -> None:
        """A request that was answered with `rows`, which are durable; returns at once."""
        if self._loaded is None:
            return
        self._due += self._share
        if self._due < 1.0:
            return
        self._due -= 1.0
        try:
            self._queue.put_nowait(_Work(inputs, rows))
        except queue.Full:
            self.left_out += 1

    def close(self) -> None:
        """Leaves out what waits, then stops."""
        self._stop.set()
        if self._thread is not None:
            self._clear()
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _clear(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            loaded = self._loaded
            if loaded is None or not self._room():
                self.left_out += 1
                continue
            try:
                self._events().record(self._answered(work, *loaded))
            except FeilunError as error:
                log.warning("what the shadow answered is not kept: %s", error.code)
            except Exception as error:
                log.warning("%s answers nothing in the shadow: %s", loaded[0], type(error).__name__)

    def _room(self) -> bool:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._idle():
            if time.monotonic() > until or self._stop.wait(LOOK_SECONDS):
                return False
        return not self._stop.is_set()

    def _answered(self, work: _Work, digest: str, predictor: Predictor) -> list[PredictionRow]:
        started = time.perf_counter()
        answers = self._task.answers(predictor, work.inputs)
        latency = (time.perf_counter() - started) * 1000
        at = time.time()
        # The text stands in the row of the answer that was given, and is erased there.
        return [
            row._replace(
                id=identity(row.id), at=at, model=digest, input="", label=one.written,
                score=one.score, reason=one.reason, latency_ms=latency, route=ROUTE, level=0,
                scores=written_scores(one), cost=0.0, kept=REMOVED,
            )
            for row, one in zip(work.rows, answers, strict=True)
        ]  # fmt: skip
