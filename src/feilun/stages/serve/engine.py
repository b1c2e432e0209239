"""The engine: one thread that predicts, fed by a bounded queue.

What waits while a batch is computed becomes the next batch, so batches grow with the load and
a lone request never waits for company.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, NamedTuple

from feilun.core.batches import batches
from feilun.core.errors import Busy, Conflict
from feilun.core.i18n import _
from feilun.models import Predictor
from feilun.tasks import Answer, Task
from feilun.tasks.task import Input

if TYPE_CHECKING:
    import numpy as np

BATCH_TEXTS = 256


class Overloaded(Busy):
    """The queue is full."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            _("{limit} requests are already waiting; [serve] queue sets the limit.").format(
                limit=limit
            ),
            remedy=_("Try again in a second."),
        )


class Stopped(Busy):
    """The engine is shutting down, or has no model yet."""

    def __init__(self) -> None:
        super().__init__(_("No model is being served."), remedy="feilun turn")


class NoVectors(Conflict):
    """The model that is served places no texts in a space."""

    def __init__(self) -> None:
        super().__init__(
            _("The model that is served gives no embeddings; models for the task 'match' do."),
            remedy=_('Set task = "match" in [project], or use another project.'),
        )


class Answered(NamedTuple):
    """The answers to one request and the digest of the model that gave them."""

    model: str
    answers: list[Answer]


class _Work(NamedTuple):
    inputs: Sequence[Input]
    done: Future[Answered]


class Engine:
    """Answers requests with the model that is loaded; `swap` changes it between two batches."""

    def __init__(self, task: Task, limit: int) -> None:
        self._task = task
        self._limit = limit
        self._queue: queue.Queue[_Work | None] = queue.Queue(limit)
        self._loaded: tuple[str, Predictor] | None = None
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._closed = False
        self._door = threading.Lock()
        self._thread.start()

    @property
    def model(self) -> str | None:
        """The digest of the model that answers now."""
        return self._loaded[0] if self._loaded else None

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._queue.qsize()

    def swap(self, digest: str, predictor: Predictor) -> None:
        """From the next batch on, `predictor` answers; it is warmed up first."""
        self._task.answers(predictor, [self._task.example])
        self._loaded = (digest, predictor)

    def submit(self, inputs: Sequence[Input]) -> Future[Answered]:
        """A future of the answers; raises `Overloaded` or `Stopped` at once."""
        work = _Work(inputs, Future())
        # Under the lock, so that nothing gets in behind the mark that ends the queue.
        with self._door:
            if self._closed or self._loaded is None:
                raise Stopped()
            try:
                self._queue.put_nowait(work)
            except queue.Full:
                raise Overloaded(self._limit) from None
        return work.done

    def embeddings(self, texts: Sequence[str]) -> tuple[str, np.ndarray]:
        """The digest of the model that answers now, and its vectors of `texts`, float32
        `[len(texts), width]` (a row of NaN: nothing in it that the model knows); raises
        `Stopped`, `NoVectors`. Computed in the caller's thread."""
        loaded = self._loaded
        if self._closed or loaded is None:
            raise Stopped()
        embed = getattr(loaded[1], "embeddings", None)
        if embed is None:
            raise NoVectors()
        return loaded[0], embed(texts)

    def close(self) -> None:
        """Answers what waits, then stops."""
        with self._door:
            first, self._closed = not self._closed, True
        if first:
            self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        for batch in batches(self._queue, BATCH_TEXTS, lambda work: len(work.inputs)):
            self._answer(batch)

    def _answer(self, batch: list[_Work]) -> None:
        assert self._loaded is not None
        digest, predictor = self._loaded
        # Who asked may have gone; from here on nobody can cancel.
        batch = [work for work in batch if work.done.set_running_or_notify_cancel()]
        if not batch:
            return
        inputs = [given for work in batch for given in work.inputs]
        try:
            answers = self._task.answers(predictor, inputs)
        except Exception as error:
            for work in batch:
                work.done.set_exception(error)
            return
        begin = 0
        for work in batch:
            end = begin + len(work.inputs)
            work.done.set_result(Answered(digest, answers[begin:end]))
            begin = end
