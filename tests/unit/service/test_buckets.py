from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from feilun.service.buckets import Buckets


def test_a_bucket_gives_its_capacity_at_once_and_then_its_rate() -> None:
    buckets = Buckets(10)
    assert sum(buckets.take("a", 3, 0.5, 100.0) >= 1 for _try in range(10)) == 3
    assert buckets.take("a", 3, 0.5, 101.9) < 1
    assert buckets.take("a", 3, 0.5, 102.0) >= 1
    assert buckets.take("b", 3, 0.5, 102.0) == 3


@given(
    st.integers(1, 20),
    st.floats(0.01, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_in_no_stretch_of_time_more_is_given_than_promised(
    capacity: int, per_second: float, gaps: list[float]
) -> None:
    buckets, now, given_at = Buckets(10), 0.0, []
    for gap in gaps:
        now += gap
        if buckets.take("a", capacity, per_second, now) >= 1:
            given_at.append(now)
    for first in range(len(given_at)):
        for last in range(first, len(given_at)):
            allowed = capacity + per_second * (given_at[last] - given_at[first])
            assert last - first + 1 <= allowed + 1e-6


def test_memory_is_bounded_and_the_eldest_is_forgotten() -> None:
    buckets = Buckets(100)
    for number in range(10_000):
        buckets.take(number, 1, 0.0, 0.0)
        buckets.take("kept", 1, 0.0, 0.0)
    assert len(buckets) == 100
    assert buckets.level("kept", 1, 0.0, 0.0) == 0
    assert buckets.level(0, 1, 0.0, 0.0) == 1
