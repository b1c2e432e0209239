"""The histogram says what the library's own says."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from feilun.service.histogram import Seconds

BOUNDS = (0.001, 0.0025, 0.1, 1.0, 10.0)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 100) | st.sampled_from(BOUNDS))),
)
def test_it_is_the_librarys(values: list[tuple[str, float]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    seconds = Seconds("x_seconds", "Said.", "step", BOUNDS)
    ours.register(seconds)
    histogram = Histogram("x_seconds", "Said.", ["step"], buckets=BOUNDS, registry=theirs)
    for label, value in values:
        seconds.observe(label, value)
        histogram.labels(label).observe(value)
    assert _lines(ours) == _lines(theirs)


@given(st.lists(st.tuples(st.integers(0, 100).map(lambda n: n / 8), st.integers(1, 5))))
def test_several_alike_are_as_one_by_one(values: list[tuple[float, int]]) -> None:
    together, single = CollectorRegistry(), CollectorRegistry()
    ours, theirs = (Seconds("x_seconds", "Said.", "step", BOUNDS) for _n in range(2))
    together.register(ours)
    single.register(theirs)
    for value, count in values:  # eighths, so that their sums are exact
        ours.observe("a", value, count)
        for _one in range(count):
            theirs.observe("a", value)
    assert _lines(together) == _lines(single)


def _lines(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return sorted(line for line in text.splitlines() if not re.search(r"_created", line))
