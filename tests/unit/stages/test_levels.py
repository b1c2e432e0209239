"""What a cascade's levels did on the test, in figures."""

from __future__ import annotations

import numpy as np
import pytest

from feilun.stages.evaluate.levels import measured


def test_shares_errors_and_the_excess_are_counted() -> None:
    levels = np.array([0] * 60 + [1] * 40)
    right = np.array([True] * 54 + [False] * 6 + [True] * 30 + [False] * 10)
    # Of the six that the first got wrong the last would have got five.
    last = np.array([True] * 50 + [False] * 4 + [True] * 5 + [False] + [True] * 30 + [False] * 10)
    found = measured(("0-a", "1-b", "2-c"), levels, right, last, 0.95, seed=1)
    assert found["share.0-a"].value == pytest.approx(0.6)
    assert found["error.0-a"].value == pytest.approx(0.1)
    assert found["error.1-b"].value == pytest.approx(0.25)
    assert found["excess_error"].value == pytest.approx(0.01)
    assert found["share.2-c"].value == 0
    assert "error.2-c" not in found
    for one in found.values():
        assert one.low <= one.value <= one.high
    assert found["excess_error"].low < 0 < found["excess_error"].high


def test_the_same_seed_gives_the_same_intervals() -> None:
    random = np.random.default_rng(0)
    given = (random.integers(0, 2, 300), random.random(300) < 0.9, random.random(300) < 0.9)
    once, again = (measured(("0-a", "1-b"), *given, 0.95, seed=4) for _again in range(2))
    assert once == again
    assert once != measured(("0-a", "1-b"), *given, 0.95, seed=5)
