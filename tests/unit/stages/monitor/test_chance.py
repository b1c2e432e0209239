from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binom, false_discovery_control, fisher_exact

from feilun.stages.monitor.chance import at_least, discoveries, more_often


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60), st.integers(0, 60))
def test_fishers_test_is_scipys(hits: int, misses: int, other: int, other_misses: int) -> None:
    table = [[hits, misses], [other, other_misses]]
    wanted = fisher_exact(table, alternative="greater").pvalue
    found = more_often(hits, hits + misses, other, other + other_misses)
    assert found == pytest.approx(wanted, rel=1e-7, abs=1e-12)


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 1))
@example(5, 4, 1.0)
@example(4, 4, 1.0)
@example(1, 4, 0.0)
def test_the_tail_of_the_binomial_law_is_scipys(hits: int, total: int, share: float) -> None:
    wanted = binom.sf(hits - 1, total, share)
    assert at_least(hits, total, share) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


def test_large_tables_are_no_trouble() -> None:
    assert more_often(900, 10_000, 500, 10_000) < 1e-20
    assert more_often(500, 10_000, 500, 10_000) > 0.4


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_discoveries_are_those_of_benjamini_and_hochberg(chances: list[float]) -> None:
    adjusted = false_discovery_control(chances)
    certain = [abs(one - 0.1) > 1e-9 for one in adjusted]
    for found, one, clear in zip(discoveries(chances, 0.1), adjusted, certain, strict=True):
        assert not clear or found == (one <= 0.1)


def test_chance_alone_is_rarely_a_discovery() -> None:
    random = np.random.default_rng(1)
    looks = 400
    false = sum(any(discoveries(random.uniform(size=30).tolist(), 0.05)) for _ in range(looks))
    # 0.05 of them, and four standard errors.
    assert false <= looks * 0.05 + 4 * (looks * 0.05 * 0.95) ** 0.5
