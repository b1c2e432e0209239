"""Times and ids, made in one place."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime


def now() -> str:
    """This moment in UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def new_id(prefix: str) -> str:
    """A unique id that sorts by time: prefix, 48 bits of milliseconds, 80 random bits, in hex."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_random.next().hex()}"


class RandomStock(threading.local):
    """Random bytes in stock, per thread: each call of the system's lets Python's other threads
    in, which costs far more than the bytes. Made with `random_stock`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._stock: list[bytes] = []

    def next(self) -> bytes:
        """`size` bytes that nobody else has."""
        if not self._stock:
            given, size = os.urandom(self._size * _STOCK), self._size
            self._stock += [given[at : at + size] for at in range(0, len(given), size)]
        return self._stock.pop()

    def forget(self) -> None:
        """Empties the stock, which a copy of this process would share."""
        self._stock.clear()


def random_stock(size: int) -> RandomStock:
    """Random bytes, `size` at a time, for as long as the process lives."""
    stock = RandomStock(size)
    os.register_at_fork(after_in_child=stock.forget)
    return stock


_ID_BYTES, _STOCK = 10, 256
_random = random_stock(_ID_BYTES)
