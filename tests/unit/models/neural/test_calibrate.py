"""What validation tells: temperatures, thresholds, intervals."""

from __future__ import annotations

import numpy as np
import pytest

from feilun.models.neural import calibrate


def test_the_temperature_mends_overconfidence() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 4000)
    honest = np.where(truth == 1, 1, -1) * 1.0 + random.normal(0, 1, 4000)
    logits = np.stack([np.zeros(4000), 2 * honest], axis=1)
    found = calibrate.classes(3 * logits, np.arange(4000), truth)
    assert found.fold[0] == pytest.approx(3, rel=0.1)
    assert found.metrics["accuracy"] == ((honest > 0) == truth).mean()


def test_each_label_has_the_threshold_of_its_best_f1() -> None:
    random = np.random.default_rng(0)
    truth = (random.random((3000, 2)) < [0.05, 0.5]).astype(np.float32)
    logits = np.where(truth > 0, -1.5, -4.0) + random.normal(0, 0.2, (3000, 2))
    found = calibrate.several(logits, np.arange(3000), truth)
    assert found.metrics["micro_f1"] > 0.99
    assert all(calibrate.sigmoid(np.array(-4.0)) < t < 0.5 for t in found.fold)
    few = calibrate.several(logits[:4], np.arange(4), np.ones((4, 2)))
    assert few.fold == (0.5, 0.5)


def test_the_interval_holds_nine_residuals_in_ten() -> None:
    random = np.random.default_rng(0)
    target = random.normal(size=2000)
    found = calibrate.value(np.zeros((2000, 1)), np.arange(2000), target, spread=3.0)
    low, high = found.fold
    assert np.mean((3 * target >= low) & (3 * target <= high)) == pytest.approx(0.9, abs=0.002)
    assert found.metrics["mae"] == pytest.approx(np.abs(3 * target).mean())


def test_windows_of_a_text_are_averaged() -> None:
    figures = np.array([[1.0], [3.0], [5.0]])
    assert calibrate.averaged(figures, np.array([0, 0, 1]), 2).ravel().tolist() == [2.0, 5.0]
