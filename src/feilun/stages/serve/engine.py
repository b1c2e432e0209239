"""The engine: one thread that predicts, fed by a bounded queue.

What waits while a batch is computed becomes the next batch, so batches grow with the load and
a lone request never waits for company.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

from feilun.core.errors import Busy, Conflict
from feilun.core.i18n import _
from feilun.models import Predictor
from feilun.models.levels import Levelled, Ready
from feilun.stages.serve.pace import Pace
from feilun.stages.serve.waiting import NEVER, Promise, Waiting, Work
from feilun.tasks import Answer, Task
from feilun.tasks.task import Input

if TYPE_CHECKING:
    import numpy as np

_ANSWERS, _OPEN, _VECTORS = "answers", "open", "vectors"
_Compute = Callable[[str, Predictor, list[Work[Any]]], list[Any]]


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
    """The answers to one request and the digest of the model that gave them.

    `levels` says which of the `depth` members of a cascade gave each, from 0; `depth` where none
    was sure enough and somebody else is to be asked (the answer is the last one's). None: all by
    one model. `costs` are in the project's currency; None: nothing. `labels` are the model's.
    The batch was computed from `began` to `ended`, as `time.perf_counter` counts.
    """

    model: str
    answers: list[Answer]
    levels: list[int] | None = None
    costs: list[float] | None = None
    depth: int = 1
    labels: tuple[str, ...] = ()
    began: float = 0.0
    ended: float = 0.0


class Placed(NamedTuple):
    """The vectors of one request's texts, float32 `[texts, width]`, and the digest of the model
    that gave them."""

    model: str
    vectors: np.ndarray


class Engine:
    """Answers requests with the model that is loaded; `swap` changes it between two batches.

    At most `limit` requests wait, and `texts` texts. `price` is that of an hour of this machine.
    """

    def __init__(
        self,
        task: Task,
        limit: int,
        *,
        texts: int = 4096,
        price: float = 0.0,
    ) -> None:
        self._task = task
        self._price = price / 3600
        self._line = Waiting(limit, texts)
        self._loaded: tuple[str, Predictor] | None = None
        self._busy = False
        self._pace = Pace()
        self.watch: Callable[[int], object] | None = None
        """Is told of each batch how many texts it had."""
        self.through: Callable[[_Compute, str, Predictor, list[Work[Any]]], list[Any]] | None = None
        """What computes a batch by the way it is given, while somebody wants to watch that."""
        self.room: Callable[[int], object] | None = None
        """Is told in the engine's thread, after each batch was taken, how many more may wait."""
        self.after_batch: Callable[[], object] = lambda: None
        """Is called in the engine's thread after each batch."""
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def model(self) -> str | None:
        """The digest of the model that answers now."""
        return self._loaded[0] if self._loaded else None

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._line)

    @property
    def waiting_texts(self) -> int:
        """How many texts wait."""
        return self._line.texts

    @property
    def full(self) -> bool:
        """Whether one more request would be refused now, as far as can be said at a glance."""
        return self._line.full

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is computed."""
        return not self._busy and not len(self._line)

    def swap(self, digest: str, predictor: Predictor) -> None:
        """From the next batch on, `predictor` answers; it is warmed up first."""
        self._task.answers(predictor, [self._task.example])
        self._loaded = (digest, predictor)
        self._pace = Pace()

    def submit(
        self, inputs: Sequence[Input], deadline: float = NEVER, *, leaves: bool = False
    ) -> Future[Answered]:
        """A future of the answers; raises `Overloaded`, `TooManyWaiting` or `Stopped` at once.

        What is still waiting at `deadline` (`time.monotonic` seconds) is never computed: its
        future raises `TooLate`. With `leaves` a cascade says of what no member is sure enough
        of, so that somebody else can be asked.
        """
        done: Future[Answered] = Future()
        self._submit(Work[Answered](_OPEN if leaves else _ANSWERS, inputs, deadline, done))
        return done

    def submit_for(
        self, done: Promise[Answered], inputs: Sequence[Input], deadline: float = NEVER
    ) -> None:
        """As `submit`; `done` is told the answers, and `after_batch` called when all that one
        batch answered are told."""
        self._submit(Work[Answered](_ANSWERS, inputs, deadline, done))

    def submit_embeddings(self, texts: Sequence[str], deadline: float = NEVER) -> Future[Placed]:
        """As `submit`, of vectors of length 1 (a row of NaN: nothing in the text that the model
        knows); raises `NoVectors` besides."""
        loaded = self._loaded
        if loaded is not None and not hasattr(loaded[1], "embeddings"):
            raise NoVectors()
        done: Future[Placed] = Future()
        self._submit(Work[Placed](_VECTORS, texts, deadline, done))
        return done

    def _submit(self, work: Work[Any]) -> None:
        if self._loaded is None or not self._line.put(work):
            raise Stopped()

    def close(self) -> None:
        """Answers what waits, then stops."""
        self._line.close()
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._line.take(self._pace.characters)) is not None:
            self._busy = True
            room = self.room
            if room is not None:
                room(self._line.room)
            began = time.perf_counter()
            self._answer(batch)
            self.after_batch()
            self._pace.note(sum(work.length for work in batch), time.perf_counter() - began)
            self._busy = False

    def _answer(self, batch: list[Work[Any]]) -> None:
        loaded = self._loaded
        assert loaded is not None
        # Who asked may have gone; from here on nobody can cancel.
        batch = [work for work in batch if work.done.set_running_or_notify_cancel()]
        if not batch:
            return
        compute = self._vectors if batch[0].kind == _VECTORS else self._answers
        try:
            through = self.through
            found = through(compute, *loaded, batch) if through else compute(*loaded, batch)
        except Exception as error:
            for work in batch:
                work.done.set_exception(error)
            return
        for work, one in zip(batch, found, strict=True):
            work.done.set_result(one)

    def _answers(self, digest: str, model: Predictor, batch: list[Work[Any]]) -> list[Answered]:
        inputs = [given for work in batch for given in work.inputs]
        began = time.perf_counter()
        levels: list[int] | None = None
        costs: list[float] | None = None
        depth = 1
        if isinstance(model, Levelled):
            depth = model.depth
            routed = model.routed(inputs, leaves=batch[0].kind == _OPEN)
            answers = self._task.answers(Ready(model.labels, routed.scores), inputs)
            levels = routed.levels.tolist()
            if self._price:
                costs = (routed.seconds * self._price).tolist()
        else:
            started = time.perf_counter()
            answers = self._task.answers(model, inputs)
            if self._price and inputs:
                each = (time.perf_counter() - started) * self._price / len(inputs)
                costs = [each] * len(inputs)
        times = (began, time.perf_counter())
        if self.watch is not None:
            self.watch(len(inputs))
        found, begin = [], 0
        for work in batch:
            part = slice(begin, begin + len(work.inputs))
            begin = part.stop
            mine = levels and levels[part], costs and costs[part]
            found.append(Answered(digest, answers[part], *mine, depth, model.labels, *times))
        return found

    def _vectors(self, digest: str, model: Predictor, batch: list[Work[Any]]) -> list[Placed]:
        embed = getattr(model, "embeddings", None)
        if embed is None:  # swapped while it waited
            raise NoVectors()
        vectors = embed([text for work in batch for text in work.inputs])
        found, begin = [], 0
        for work in batch:
            end = begin + len(work.inputs)
            found.append(Placed(digest, vectors[begin:end]))
            begin = end
        return found
