"""The risk that is stated is the risk that is kept."""

from __future__ import annotations

import numpy as np
import pytest

from feilun.models.conformal import ALWAYS, NEVER, threshold

REPETITIONS = 4000


def drawn(
    random: np.random.Generator, shape: tuple[int, int], skill: float
) -> tuple[np.ndarray, np.ndarray]:
    """Confidences and whether an answer does harm: less often where a model is surer."""
    confidence = random.beta(3, 1.2, size=shape)
    harm = random.random(shape) > confidence**skill
    return confidence, harm


@pytest.mark.parametrize(("num", "risk"), [(20, 0.1), (50, 0.05), (200, 0.02), (200, 0.1)])
@pytest.mark.parametrize("skill", [0.2, 1.0])
def test_the_expected_risk_stays_below_the_stated_one(num: int, risk: float, skill: float) -> None:
    random = np.random.default_rng(7)
    confidence, harm = drawn(random, (REPETITIONS, num + 1), skill)
    done = 0
    for sure, hurts in zip(confidence, harm, strict=True):
        limit = threshold(sure[:num], hurts[:num], risk)
        done += bool(sure[num] > limit and hurts[num])
    share = done / REPETITIONS
    # Three standard errors of a share: beyond chance it is not above what was stated.
    assert share <= risk + 3 * (risk * (1 - risk) / REPETITIONS) ** 0.5


def test_without_the_correction_the_risk_is_broken() -> None:
    """The negative control: the same test fails for the plain empirical threshold."""
    random = np.random.default_rng(7)
    num, risk = 20, 0.1
    confidence, harm = drawn(random, (REPETITIONS, num + 1), 1.0)
    done = 0
    for sure, hurts in zip(confidence, harm, strict=True):
        harmful = np.sort(sure[:num][hurts[:num]])[::-1]
        allowed = int(risk * num)
        limit = harmful[allowed] - 1e-9 if len(harmful) > allowed else ALWAYS
        done += bool(sure[num] > limit and hurts[num])
    assert done / REPETITIONS > risk + 3 * (risk * (1 - risk) / REPETITIONS) ** 0.5


def test_the_threshold_is_the_least_that_is_allowed() -> None:
    """Not below what may be, and not above what must be: as found by trying every threshold."""
    random = np.random.default_rng(3)
    for _again in range(200):
        num = int(random.integers(5, 60))
        risk = float(random.uniform(0.02, 0.5))
        sure = random.integers(0, 8, num) / 8  # with ties
        harm = random.random(num) < 0.4
        found = threshold(sure, harm, risk)
        kept = [
            limit
            for limit in (ALWAYS, *np.unique(sure))
            if (np.sum(harm & (sure > limit)) + 1) / (num + 1) <= risk + 1e-12
        ]
        assert found == (min(kept) if kept else NEVER)


def test_a_risk_that_so_few_records_cannot_show_sends_everything_on() -> None:
    sure, harm = np.full(98, 0.99), np.zeros(98, dtype=bool)
    assert threshold(sure, harm, 0.01) == NEVER
    assert threshold(np.append(sure, 0.99), np.append(harm, False), 0.01) == ALWAYS
    assert threshold(np.zeros(0), np.zeros(0, dtype=bool), 0.5) == NEVER


def test_what_is_not_answered_does_no_harm() -> None:
    sure = np.array([np.nan, np.nan, 0.9, 0.8, 0.7, 0.6])
    harm = np.array([True, True, False, False, False, False])
    assert threshold(sure, harm, 0.2) == ALWAYS
