"""The meter counts time and amounts, and adds up."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.economics import Meter
from feilun.economics.meter import peak_rss_mb


def test_wall_and_cpu_seconds_are_told_apart() -> None:
    with Meter() as slept:
        time.sleep(0.1)
    with Meter() as worked:
        end = time.process_time() + 0.1
        while time.process_time() < end:
            pass
    assert slept.cost().seconds >= 0.1
    assert slept.cost().cpu_seconds < 0.08
    assert worked.cost().cpu_seconds >= 0.09
    assert 5 < worked.cost().peak_rss_mb <= peak_rss_mb() + 0.1


def test_a_failed_block_is_measured_too() -> None:
    meter = Meter()

    def fail() -> None:
        with meter:
            time.sleep(0.01)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert meter.cost().seconds >= 0.01


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1000))))
def test_what_was_spent_is_the_sum(spent: list[tuple[str, int]]) -> None:
    meter = Meter()
    for what, amount in spent:
        meter.add(amount, what)
    for what in "ab":
        assert meter.cost().spent.get(what, 0) == sum(a for w, a in spent if w == what)
