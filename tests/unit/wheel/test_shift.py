"""Shifts: the statistics against SciPy's and against what chance does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.wheel.shift import PERMUTATIONS, labels_shift, lengths_shift

stats = pytest.importorskip("scipy.stats")


def groups(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.int64)


def test_counts_and_distance() -> None:
    shift = labels_shift(["a", "b"], groups([10, 0], [40, 50], [0, 0]))
    assert shift.counts == {"a": (50, 40), "b": (50, 50)}
    assert shift.distance == pytest.approx(abs(0.5 - 40 / 90))
    assert labels_shift(["a", "b"], groups([0, 0], [3, 4], [0, 0])).distance == 0


def test_what_came_with_other_labels_is_no_chance() -> None:
    shift = labels_shift(["a", "b"], groups([0, 0], [500, 500], [90, 10]))
    assert shift.p is not None
    assert shift.p == 1 / (1 + PERMUTATIONS)


def test_what_came_with_the_same_labels_is_chance() -> None:
    shift = labels_shift(["a", "b"], groups([5, 5], [500, 500], [50, 50]))
    assert shift.p is not None
    assert shift.p > 0.5


@pytest.mark.parametrize(
    "rows",
    [[[0, 0], [5, 5], [0, 0]], [[0, 0], [0, 0], [4, 4]], [[3, 0], [5, 0], [2, 0]],
     [[0, 0], [0, 0], [0, 0]]],
)  # fmt: skip
def test_without_two_groups_and_two_labels_there_is_no_p(rows: list[list[int]]) -> None:
    assert labels_shift(["a", "b"], groups(*rows)).p is None


def test_p_agrees_with_chi_square_where_that_holds() -> None:
    table = groups([40, 60, 20], [300, 280, 120], [70, 40, 25])
    shift = labels_shift(["a", "b", "c"], table)
    wanted = float(stats.chi2_contingency(table).pvalue)
    assert shift.p == pytest.approx(wanted, abs=0.01)


def test_p_is_as_small_as_it_says_only_as_often() -> None:
    # Under chance, p below .1 in a tenth of all cases; a test of first against second as if
    # they were two samples would say so in none.
    draw = np.random.default_rng(4)
    small = 0
    for _number in range(200):
        labels = draw.random(400) < 0.3
        new = draw.random(400) < 0.15
        table = groups(
            [0, 0],
            [int((~new & ~labels).sum()), int((~new & labels).sum())],
            [int((new & ~labels).sum()), int((new & labels).sum())],
        )
        p = labels_shift(["a", "b"], table).p
        assert p is not None
        small += p <= 0.1
    assert 8 <= small <= 32


def test_lengths_of_newcomers_against_what_was_there() -> None:
    draw = np.random.default_rng(2)
    none = np.array([], dtype=np.uint32)
    there = draw.integers(5, 100, 600)
    longer = lengths_shift(none, there, draw.integers(60, 160, 100))
    alike = lengths_shift(none, there, draw.integers(5, 100, 100))
    assert longer.p is not None
    assert alike.p is not None
    assert longer.p < 1e-6 < 0.05 < alike.p
    assert longer.means[1] > longer.means[0]
    assert lengths_shift(there[:100], there[100:], none).p is not None
    assert lengths_shift(none, there, none) == ((there.mean(),) * 2, 0.0, None)
    assert lengths_shift(none, none, none) == ((0.0, 0.0), 0.0, None)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), one=st.integers(20, 200), two=st.integers(20, 200))
def test_ks_agrees_with_scipy(seed: int, one: int, two: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=one) * 100, draw.normal(draw.normal() / 4, size=two) * 100
    shift = lengths_shift(np.array([]), a, b)
    known = stats.ks_2samp(a, b, method="exact")
    assert shift.p is not None
    assert shift.p == pytest.approx(float(known.pvalue), abs=0.1)
    if known.pvalue < 0.001:
        assert shift.p < 0.005
    both = stats.ks_2samp(a, np.concatenate([a, b]))
    assert shift.distance == pytest.approx(float(both.statistic))
