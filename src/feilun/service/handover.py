"""Results of other threads, handed to the event loop in one go.

A future of a thread that is awaited in the usual way wakes the loop by itself: 64 requests that
one batch answers cost 64 wake-ups. Here the first wakes the loop, and brings the rest.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class _Loop:
    """One event loop's results that wait to be handed over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._come: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._called = False

    def come(self, waiter: asyncio.Future[Any], future: Future[Any]) -> None:
        """Called in the thread that made the result."""
        self._come.append((waiter, future))
        if not self._called:
            self._called = True
            with suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                self.loop.call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        # Before the first look: what comes after the last one has called again.
        self._called = False
        while self._come:
            waiter, future = self._come.popleft()
            if waiter.done():
                continue
            if future.cancelled():
                waiter.cancel()
                continue
            error = future.exception()
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(future.result())


_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _Loop] = WeakKeyDictionary()


async def settled(future: Future[T], seconds: float | None = None) -> T:
    """The result of a future of another thread, in the running event loop; raises `TimeoutError`
    after `seconds`. Who stops waiting does not cancel it: the thread that answers it answers
    others in the same batch."""
    running = asyncio.get_running_loop()
    loop = _loops.get(running)
    if loop is None:
        loop = _loops[running] = _Loop(running)
    waiter: asyncio.Future[T] = running.create_future()
    future.add_done_callback(partial(loop.come, waiter))
    if seconds is None:
        return await waiter
    timer = running.call_later(seconds, _late, waiter)
    try:
        return await waiter
    finally:
        timer.cancel()


def _late(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
