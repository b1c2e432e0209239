"""Token buckets: so many at once, and so many a second from then on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Buckets:
    """A token bucket per name, in bounded memory.

    A bucket begins full, holds at most its capacity and is filled steadily. Of more than `most`
    names the one not seen for longest is forgotten: its bucket is full again. For one thread.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._levels)

    def level(self, name: Hashable, capacity: float, per_second: float, now: float) -> float:
        """How many tokens are in it; `now` in seconds, from any clock that only goes forward."""
        level, at = self._levels.get(name, (capacity, now))
        return min(capacity, level + (now - at) * per_second)

    def take(self, name: Hashable, capacity: float, per_second: float, now: float) -> float:
        """Takes a token if there is one; how many there were before, so at least 1 if it did."""
        level = self.level(name, capacity, per_second, now)
        self._levels[name] = (level - 1.0 if level >= 1.0 else level, now)
        self._levels.move_to_end(name)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return level
