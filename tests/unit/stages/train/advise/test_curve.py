"""Learning curves: known ones are found again, few points give wide intervals."""

from __future__ import annotations

import numpy as np
import pytest

from feilun.stages.train.advise.curve import fitted
from feilun.stages.train.advise.pace import predicted

SIZES = (62, 125, 250, 500, 1000)


@pytest.mark.parametrize(
    ("limit", "scale", "exponent"), [(0.1, 1.0, 0.5), (0.02, 0.9, 0.3), (0.0, 2.0, 0.6)]
)
def test_a_known_curve_is_extrapolated(limit: float, scale: float, exponent: float) -> None:
    errors = [limit + scale * n**-exponent for n in SIZES]
    point = fitted(SIZES, errors, [0.002] * len(SIZES)).at(2000)
    assert point.error == pytest.approx(limit + scale * 2000**-exponent, abs=0.004)
    assert point.spread < 0.01


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    held = []
    for _trial in range(200):
        limit, exponent = random.uniform(0, 0.2), random.normal(0.35, 0.1)
        true = [limit + 0.9 * n**-exponent for n in (*SIZES, 2000)]
        noisy = [e + random.normal(0, 0.01) for e in true[:-1]]
        point = fitted(SIZES, noisy, [0.01] * len(SIZES)).at(2000)
        held.append(abs(point.error - true[-1]) < 1.96 * point.spread)
    assert 0.9 <= np.mean(held) <= 1.0


def test_a_flat_curve_stays_flat_and_a_steep_one_falls() -> None:
    flat = fitted(SIZES, [0.25] * 5, [0.005] * 5)
    steep = fitted(SIZES, [n**-0.5 for n in SIZES], [0.005] * 5)
    assert flat.fall(1000, 2000).error < 0.006
    assert steep.fall(1000, 2000).error == pytest.approx(1000**-0.5 - 2000**-0.5, abs=0.003)


def test_one_point_gives_what_is_usual_and_says_that_it_is_unsure() -> None:
    one = fitted([500], [0.3], [0.01]).at(1000)
    many = fitted(SIZES[:4], [3.0 * n**-0.37 for n in SIZES[:4]], [0.01] * 4).at(1000)
    assert 0.2 < one.error < 0.3
    assert one.spread > many.spread


def test_no_error_at_all_is_no_failure() -> None:
    point = fitted([100, 200], [0.0, 0.0], [0.0, 0.0]).at(400)
    assert point.error == pytest.approx(0.0, abs=1e-3)


def test_seconds_follow_the_line_through_the_probes() -> None:
    work = [100.0, 200.0, 400.0, 800.0]
    assert predicted(work, [1 + w / 100 for w in work], 1600, 3.0) == pytest.approx(17, rel=0.1)
    # Without a probe, its own estimate; with one, that in the measured proportion.
    assert predicted([], [], 1600, 3.0) == 3.0
    assert predicted([800], [4.0], 1600, 8.0) == pytest.approx(8.0)
    assert 8.0 < predicted([800], [5.0], 1600, 8.0) <= 10.0


def test_seconds_that_grow_faster_than_the_records_are_foretold() -> None:
    # Measured: ngram on English ratings, processor seconds; 5,400 records took 1.09.
    found = predicted([675, 1350, 2700], [0.07, 0.14, 0.34], 5400, 0.5)
    assert 1.09 / 1.5 < found < 1.09 * 1.5
    # And on entities: 3.94.
    found = predicted([675, 1350, 2700], [0.29, 0.55, 1.58], 5400, 3.0)
    assert 3.94 / 1.5 < found < 3.94 * 1.5
    work = [100.0, 200.0, 400.0, 800.0]
    bent = predicted(work, [(w / 100) ** 1.4 for w in work], 1600, 40.0)
    assert bent == pytest.approx(16**1.4, rel=0.1)


def test_seconds_are_never_below_nothing() -> None:
    # A slow start (loading) must not make a falling line.
    assert predicted([100, 200], [3.0, 1.0], 400, 2.0) > 0
