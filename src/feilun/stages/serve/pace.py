"""How much a batch may hold for its answers not to be kept waiting.

All that is in a batch is answered when the last of it is computed, and while it is being stored
nothing is computed for those who have been answered. With batches of a fiftieth of a second the
engine has the next one at hand meanwhile, and the first does not wait for the last.

Between two batches processors stand still for some thousandths of a second. Where the line is so
long that everybody waits far longer anyway, batches are a quarter of it.
"""

from __future__ import annotations

import math

BATCH_SECONDS, MOST_SECONDS = 0.02, 0.08
_SHARE = 0.2
"""That the newest batch has in the pace."""
_OF_THE_LINE = 0.25


class Pace:
    """The characters that a model reads in a second, from its latest batches."""

    def __init__(self) -> None:
        self._per_second = math.inf

    def note(self, characters: int, seconds: float) -> None:
        """A batch of so many characters took so long."""
        if characters <= 0 or seconds <= 0:
            return
        found = characters / seconds
        if math.isinf(self._per_second):
            self._per_second = found
        self._per_second += _SHARE * (found - self._per_second)

    def characters(self, waiting: int) -> float:
        """How many make a batch, when so many wait."""
        least, most = self._per_second * BATCH_SECONDS, self._per_second * MOST_SECONDS
        return min(max(waiting * _OF_THE_LINE, least), most)
