"""What waits for the engine: bounded in requests and in texts, handed out in batches.

The most urgent work leads a batch, and what is of like length goes with it: a short text that is
asked beside long ones would wait for them. Nothing starves: deadlines only come nearer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from feilun.core.errors import Busy
from feilun.core.i18n import _
from feilun.tasks.task import Input

BATCH_TEXTS, BATCH_CHARACTERS = 256, 1 << 17
"""The most of one batch; a request that is larger alone is a batch of its own."""
NEVER = math.inf
LOOK_SECONDS = 0.01
"""How often a full line is looked through for those who have gone: a flood is refused in
microseconds, and looking through 256 requests takes fifty of them."""


class Overloaded(Busy):
    """The queue is full."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            _("{limit} requests are already waiting; [serve] queue sets the limit.").format(
                limit=limit
            ),
            remedy=_("Try again in a second."),
        )


class TooManyWaiting(Busy):
    """The texts of all that waits are too many."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            _(
                "Requests with {limit} texts are already waiting; [serve] queue_texts sets the "
                "limit."
            ).format(limit=limit),
            remedy=_("Try again in a second."),
        )


class TooLate(Busy):
    """The request's time was over before it was answered."""

    def __init__(self) -> None:
        super().__init__(
            _(
                "The request was not answered within its time: [serve] timeout_seconds, or less "
                "where the header X-Request-Timeout-Seconds says so."
            ),
            remedy=_("Try again in a second, or allow more time."),
        )


T = TypeVar("T")
Given_contra = TypeVar("Given_contra", contravariant=True)


class Promise(Protocol[Given_contra]):
    """Whoever is told the answer, in the engine's thread: a `Future`, or what costs less."""

    def cancelled(self) -> bool: ...

    def set_running_or_notify_cancel(self) -> bool: ...

    def set_result(self, result: Given_contra, /) -> None: ...

    def set_exception(self, exception: BaseException, /) -> None: ...


class Work(Generic[T]):
    """One request: what is wanted of its inputs (`kind`), by when (`time.monotonic` seconds),
    and who is told the answer."""

    __slots__ = ("deadline", "done", "inputs", "kind", "length")

    def __init__(
        self, kind: str, inputs: Sequence[Input], deadline: float, done: Promise[T]
    ) -> None:
        self.kind = kind
        self.inputs = inputs
        self.deadline = deadline
        self.length = sum(
            len(one) if isinstance(one, str) else sum(map(len, one)) for one in inputs
        )
        self.done = done

    @property
    def mean(self) -> float:
        """Characters per text."""
        return self.length / max(len(self.inputs), 1)


class Waiting:
    """The line before the engine: any number of threads `put`, one `take`s.

    `limit` bounds the requests, `texts` the texts of all together; one request with more texts
    than that is let in when nothing waits.
    """

    def __init__(self, limit: int, texts: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._most_texts = limit, texts
        self._clock = clock
        self._line: list[Work[Any]] = []
        self._texts = 0
        self._looked = -math.inf
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._line)

    @property
    def texts(self) -> int:
        """How many texts wait."""
        return self._texts

    @property
    def room(self) -> int:
        """How many more may wait."""
        return max(self._limit - len(self._line), 0)

    @property
    def full(self) -> bool:
        """Whether one more request would be refused now, as far as can be said at a glance."""
        full = len(self._line) >= self._limit
        return full and self._clock() - self._looked < LOOK_SECONDS

    def put(self, work: Work[Any]) -> bool:
        """Whether it was let in: not after `close`; raises `Overloaded`, `TooManyWaiting`."""
        size = len(work.inputs)
        with self._changed:
            if self._closed:
                return False
            if not self._room(size) and self._clock() - self._looked >= LOOK_SECONDS:
                # Those who have gone, or whose time is over, hold no place.
                self._drop()
            if len(self._line) >= self._limit:
                raise Overloaded(self._limit)
            if not self._room(size):
                raise TooManyWaiting(self._most_texts)
            self._line.append(work)
            self._texts += size
            self._changed.notify()
        return True

    def take(self, most: Callable[[int], float] = lambda _all: math.inf) -> list[Work[Any]] | None:
        """The next batch, all of one kind, of about as many characters at most as `most` says of
        those that wait; waits for one; None once closed and empty."""
        with self._changed:
            while True:
                self._drop()
                if self._line:
                    waiting = sum(work.length for work in self._line)
                    return self._batch(min(most(waiting), BATCH_CHARACTERS))
                if self._closed:
                    return None
                self._changed.wait()

    def close(self) -> None:
        """Lets nothing in any more; what waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _room(self, size: int) -> bool:
        fits = not self._line or self._texts + size <= self._most_texts
        return fits and len(self._line) < self._limit

    def _drop(self) -> None:
        """Answers those whose time is over, and forgets those who have gone."""
        self._looked = now = self._clock()
        if not any(work.deadline <= now or work.done.cancelled() for work in self._line):
            return
        kept = []
        for work in self._line:
            if work.deadline > now and not work.done.cancelled():
                kept.append(work)
                continue
            self._texts -= len(work.inputs)
            if work.done.set_running_or_notify_cancel():
                work.done.set_exception(TooLate())
        self._line = kept

    def _batch(self, most: float) -> list[Work[Any]]:
        first = min(self._line, key=lambda work: work.deadline)
        alike = [work for work in self._line if work.kind == first.kind and work is not first]
        texts = sum(len(work.inputs) for work in alike) + len(first.inputs)
        if texts > BATCH_TEXTS or sum(work.length for work in alike) + first.length > most:
            near = math.log1p(first.mean)
            alike.sort(key=lambda work: abs(math.log1p(work.mean) - near))
        batch = [first]
        texts, characters = len(first.inputs), first.length
        for work in alike:
            texts, characters = texts + len(work.inputs), characters + work.length
            if texts > BATCH_TEXTS or characters > most:
                break
            batch.append(work)
        taken = set(map(id, batch))
        self._line = [work for work in self._line if id(work) not in taken]
        self._texts -= sum(len(work.inputs) for work in batch)
        return batch
