"""Work that waits in a queue, taken in batches: what comes while one is at work is the next."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def batches(
    waiting: queue.Queue[T | None], most: int, size: Callable[[T], int] = lambda _item: 1
) -> Iterator[list[T]]:
    """Batches of all that waits, until their sizes reach `most`, in order; blocks while nothing
    does; ends after the batch that was before a None in the queue."""
    ended = False
    while not ended and (first := waiting.get()) is not None:
        batch, total = [first], size(first)
        while total < most:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                break
            if item is None:
                ended = True
                break
            batch.append(item)
            total += size(item)
        yield batch
