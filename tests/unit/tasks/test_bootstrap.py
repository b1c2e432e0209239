"""Both ways of drawing are the same bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from feilun.tasks.bootstrap import RESAMPLES, draws, interval, sums


def test_every_resample_has_as_many_records() -> None:
    for counts in (np.ones(300, dtype=np.int64), np.array([250, 50])):
        drawn = np.concatenate(list(draws(counts, seed=1)))
        assert drawn.shape == (RESAMPLES, len(counts))
        assert (drawn.sum(axis=1) == 300).all()


def test_drawing_records_and_drawing_counts_have_the_same_distribution() -> None:
    """Of 300 records 60 are right: mean .2, standard error √(.2·.8/300) = .0231."""
    right = np.r_[np.ones(60), np.zeros(240)]
    by_record = np.concatenate(list(draws(np.ones(300, dtype=np.int64), seed=1))) @ right / 300
    by_count = np.concatenate(list(draws(np.array([60, 240]), seed=1)))[:, 0] / 300
    for shares in (by_record, by_count):
        assert shares.mean() == pytest.approx(0.2, abs=0.003)
        assert shares.std() == pytest.approx(0.0231, rel=0.08)


def test_the_same_seed_draws_the_same() -> None:
    counts = np.array([3, 1, 2, 1])
    one, two, three = (np.concatenate(list(draws(counts, seed))) for seed in (1, 1, 2))
    assert (one == two).all()
    assert (one != three).any()


def test_outcomes_that_occur_several_times_are_drawn_as_often() -> None:
    """Too many outcomes to draw counts: records are drawn, and counted by outcome."""
    counts = np.array([6, 2, 1, 1])
    drawn = np.concatenate(list(draws(counts, seed=1)))
    assert (drawn.sum(axis=1) == 10).all()
    assert drawn.mean(axis=0) == pytest.approx(counts, abs=0.15)


def test_of_many_records_fewer_resamples_are_drawn() -> None:
    blocks = draws(np.ones(700_000, dtype=np.int64), seed=1)
    first = next(blocks)
    assert first.shape[1] == 700_000
    assert first.sum(axis=1) == pytest.approx(700_000)


def test_sums_begin_with_what_was_observed_and_equal_rows_are_one() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = sums(rows, np.array([2, 3, 4]), seed=1)
    assert found.shape == (1 + RESAMPLES, 2)
    assert found[0].tolist() == [6, 3]
    assert (found.sum(axis=1) == 9).all()
    merged = sums(rows[:2], np.array([6, 3]), seed=1)
    assert (found == merged).all()


def test_no_records_have_no_resamples() -> None:
    assert list(draws(np.zeros(0, dtype=np.int64), seed=1)) == []
    assert sums(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), seed=1).tolist() == [[0, 0]]


def test_an_interval_holds_its_value_even_where_the_resamples_do_not() -> None:
    values = np.r_[0.9, np.linspace(0.1, 0.5, 101)]
    found = interval(values, 0.9)
    assert found == pytest.approx((0.9, 0.12, 0.9))
    assert interval(np.array([0.3]), 0.9) == (0.3, 0.3, 0.3)
