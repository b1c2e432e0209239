"""Weights of a stack: found on what no member learnt from, the simplest that will do."""

from __future__ import annotations

import numpy as np
import pytest

from feilun.models.weighing import combined, weighed

KINDS = ["one", "several", "value"]


def case(kind: str, num: int = 600, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Two members of like worth whose errors are independent, and one that knows nothing."""
    random = np.random.default_rng(seed)
    if kind == "value":
        truth = random.normal(size=(num, 1))
        members = [truth + random.normal(size=(num, 1)) for _ in range(2)]
        return np.stack([*members, random.normal(size=(num, 1))]), truth
    truth = np.eye(3)[random.integers(0, 3, num)]
    if kind == "several":
        truth = (random.random((num, 3)) < 0.4).astype(float)
    signed = 2 * truth - 1
    members = [signed + random.normal(size=(num, 3)) for _ in range(2)]
    asked = np.stack([*members, random.normal(size=(num, 3))])
    if kind == "one":
        asked -= np.log(np.exp(asked).sum(axis=2, keepdims=True))
    return asked, truth


def error(found: np.ndarray, truth: np.ndarray, kind: str) -> float:
    if kind == "one":
        return float((found.argmax(axis=1) != truth.argmax(axis=1)).mean())
    if kind == "several":
        return float(((found > 0) != (truth > 0.5)).mean())
    return float(((found - truth) ** 2).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_two_that_err_apart_are_better_than_each(kind: str) -> None:
    asked, truth = case(kind)
    weights = weighed(asked, truth, kind, 0)
    assert weights.shape == (3,)
    # For values an idle member still shrinks the sum, which helps.
    assert weights[2] < (0.6 if kind == "value" else 0.35) * weights[:2].min()
    again, known = case(kind, 4000, seed=4)
    together = error(combined(again, weights), known, kind)
    assert together < min(error(one, known, kind) for one in again) * 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_a_member_that_is_right_alone_stays_alone(kind: str) -> None:
    asked, truth = case(kind)
    asked[0] = truth if kind == "value" else 6 * (2 * truth - 1)
    if kind == "one":
        asked[0] -= np.log(np.exp(asked[0]).sum(axis=1, keepdims=True))
    weights = weighed(asked, truth, kind, 0)
    assert weights[0] > 0
    assert weights[1:] == pytest.approx(0)


def test_the_same_records_give_the_same_weights() -> None:
    asked, truth = case("one")
    assert np.array_equal(weighed(asked, truth, "one", 7), weighed(asked, truth, "one", 7))


def test_who_knows_nothing_of_a_row_does_not_count_there() -> None:
    asked, _truth = case("one", 8)
    asked[1, 0] = np.nan
    asked[:, 1] = np.nan
    weights = np.array([0.5, 0.5, 0.0])
    found = combined(asked, weights)
    assert found[0] == pytest.approx(asked[0, 0])
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[2:]).all()
    only_the_idle = asked.copy()
    only_the_idle[:2, 3] = np.nan
    assert combined(only_the_idle, weights)[3] == pytest.approx(asked[2, 3])


def test_few_records_choose_nothing() -> None:
    asked, truth = case("one", 6)
    assert weighed(asked, truth, "one", 0) == pytest.approx([1 / 3] * 3)
    nothing = np.empty((3, 0, 3))
    assert weighed(nothing, np.empty((0, 3)), "one", 0) == pytest.approx([1 / 3] * 3)
