"""Failed requests, kept for `monitor`: best effort, and never more than the log can bear."""

from __future__ import annotations

import time
from contextlib import suppress

from feilun.core.errors import Busy
from feilun.store import EventLog
from feilun.store.events import FailureRow

PER_SECOND = 50


class Failures:
    """Writes failed requests down, at most `PER_SECOND`: whoever sends nonsense without a key
    must not be able to fill the disk. Those above it are still counted in the metrics."""

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._second = 0
        self._count = 0

    def note(self, route: str, status: int, code: str, count: int = 1) -> None:
        """Hands one failure over, or several alike; does not wait, does not raise."""
        at = time.time()
        if int(at) != self._second:
            self._second, self._count = int(at), 0
        kept = min(count, PER_SECOND - self._count)
        if kept <= 0:
            return
        self._count += kept
        with suppress(Busy):
            self._events.submit([FailureRow(at, route, status, code)] * kept)
