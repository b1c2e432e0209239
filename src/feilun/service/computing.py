"""An answer within its time: from the engine, and where no member of a cascade is sure enough
from an endpoint, or left to a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from feilun.service.handover import settled
from feilun.stages.serve import Answered, Beyond, TooLate, unanswered
from feilun.stages.serve.beyond import EndpointLevel, Heard, ask
from feilun.tasks import Task
from feilun.tasks.task import EMPTY, Input

T = TypeVar("T")


async def in_time(future: Future[T], deadline: float) -> T:
    """The future's result; raises `TooLate` at `deadline` (`time.monotonic` seconds). One that
    is given up, or whose request is cancelled, is cancelled only while it waits: the thread that
    answers it answers others in the same batch."""
    try:
        return await settled(future, max(deadline - time.monotonic(), 0.0))
    # The engine's own comes from a thread that does not speak the language of the request.
    except (TimeoutError, TooLate):
        future.cancel()
        raise TooLate() from None


class Further:
    """Takes what no member of a cascade is sure enough of to the levels of `[serve.cascade]`.

    An endpoint answers in threads of its own, at most `max_concurrent` requests at a time; what
    finds no free one, or gets no answer in time, goes on. Where nobody follows, the cascade's
    last member has the last word.
    """

    def __init__(self, task: Task, beyond: Beyond) -> None:
        self._task = task
        self._beyond = beyond
        level = beyond.endpoint
        self._pool = ThreadPoolExecutor(level.max_concurrent, "endpoint") if level else None
        self._asked = 0

    @property
    def follows(self) -> bool:
        """Whether there is anybody to take anything to."""
        return self._beyond.follows

    def close(self) -> None:
        """Waits for no endpoint."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def finished(
        self, inputs: Sequence[Input], answered: Answered, deadline: float
    ) -> Answered:
        """`answered`, with nothing left open; levels after the members are numbered on: the
        endpoint's is that of their number, a person's the one after it."""
        levels = answered.levels
        if levels is None or answered.depth not in levels:
            return answered
        depth = answered.depth
        answers, levels = list(answered.answers), list(levels)
        costs = list(answered.costs or [0.0] * len(levels))
        left = []
        for at, level in enumerate(levels):
            if answers[at].reason == EMPTY:
                levels[at] = min(level, depth - 1)
            elif level == depth:
                left.append(at)
        if self._beyond.endpoint is not None and left:
            wanted = [inputs[at] for at in left]
            heard = await self._heard(self._beyond.endpoint, answered.labels, wanted, deadline)
            for at, one in zip(left, heard, strict=True):
                costs[at] += one.cost
                answers[at] = one.answer or answers[at]
            left = [at for at, one in zip(left, heard, strict=True) if one.answer is None]
        for at in left:
            levels[at] = depth + 1 if self._beyond.person else depth - 1
            if self._beyond.person:
                answers[at] = unanswered(self._task, answered.labels, inputs[at])
                costs[at] += self._beyond.person_price
        return answered._replace(answers=answers, levels=levels, costs=costs)

    async def _heard(
        self, level: EndpointLevel, labels: tuple[str, ...], inputs: list[Input], deadline: float
    ) -> list[Heard]:
        nothing = [Heard(None, 0.0)] * len(inputs)
        seconds = min(level.timeout_seconds, deadline - time.monotonic())
        if self._pool is None or self._asked >= level.max_concurrent or seconds <= 0:
            return nothing
        self._asked += 1
        future = self._pool.submit(ask, level, self._task, labels, inputs, seconds)
        loop = asyncio.get_running_loop()

        def freed(_done: Future[list[Heard]]) -> None:
            with suppress(RuntimeError):  # the loop has ended before the endpoint answered
                loop.call_soon_threadsafe(self._freed)

        future.add_done_callback(freed)
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(asyncio.wrap_future(future))
        except TimeoutError:
            return nothing

    def _freed(self) -> None:
        self._asked -= 1
