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
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{_random.next()}"


class _Random(threading.local):
    """Random bits in stock, per thread: each call of the system's lets Python's other threads
    in, which costs far more than the bits."""

    def __init__(self) -> None:
        self._stock: list[str] = []

    def next(self) -> str:
        """80 bits, in hex."""
        if not self._stock:
            bits = os.urandom(_ID_BYTES * _STOCK).hex()
            step = 2 * _ID_BYTES
            self._stock = [bits[at : at + step] for at in range(0, len(bits), step)]
        return self._stock.pop()

    def forget(self) -> None:
        """Empties the stock, which a copy of this process would share."""
        self._stock.clear()


_ID_BYTES, _STOCK = 10, 256
_random = _Random()
os.register_at_fork(after_in_child=_random.forget)
