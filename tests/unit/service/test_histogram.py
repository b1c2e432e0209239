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


def _lines(registry: CollectorRegistry) -> list[str]:
    text = generate_latest(registry).decode()
    return sorted(line for line in text.splitlines() if not re.search(r"_created", line))
