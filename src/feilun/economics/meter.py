"""Measures what a block of work took."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from types import TracebackType

from feilun.core.artifacts import Cost
from feilun.economics.energy import Counters

# ru_maxrss counts KiB, on macOS bytes.
_RSS_BYTES = 1 if sys.platform == "darwin" else 1024


class Meter:
    """`with Meter() as meter: …`, then `meter.cost()`."""

    def __init__(self, grams_per_kwh: float | None = None) -> None:
        """`grams_per_kwh` of CO₂, where the region's power is known."""
        self._grams_per_kwh = grams_per_kwh
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._started = 0.0
        self._cpu_started = 0.0
        self._cost = Cost()

    def __enter__(self) -> Meter:
        self._started, self._cpu_started = time.perf_counter(), _cpu_seconds()
        self._counters = Counters()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        cpu_seconds = _cpu_seconds() - self._cpu_started
        energy = self._counters.energy(cpu_seconds)
        grams = self._grams_per_kwh
        self._cost = Cost(
            seconds=round(time.perf_counter() - self._started, 4),
            cpu_seconds=round(cpu_seconds, 4),
            peak_rss_mb=round(peak_rss_mb(), 1),
            energy_wh=round(energy.wh, 6),
            energy_measured=energy.measured,
            co2_g=None if grams is None else round(energy.wh * grams / 1000, 6),
        )

    def add(self, amount: float, what: str) -> None:
        """Counts `amount` of `what`."""
        self.spent[what] += amount

    def cost(self) -> Cost:
        """Wall and CPU seconds and energy of the block, this process's peak memory so far, the
        counts."""
        return self._cost.model_copy(update={"spent": dict(self.spent)})


def peak_rss_mb() -> float:
    """This process's largest resident set so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_BYTES / 1e6


def _cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)
