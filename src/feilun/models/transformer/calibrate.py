"""Honest probabilities: one temperature, found on the validation split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from feilun.models.transformer.predict import softmax

COOLEST, HOTTEST = 0.5, 10.0
"""Limits of the temperature: a small validation split that is answered without an error asks
for none at all, that is, for certainty."""


class Checked(NamedTuple):
    """Validation: the calibrated loss per text, the share answered rightly, the temperature."""

    loss: float
    accuracy: float
    temperature: float


def calibrate(logits: np.ndarray, text: np.ndarray, target: np.ndarray) -> Checked:
    """The temperature that makes probabilities honest, and the loss and accuracy with it.

    One number divides every logit so that the validation texts' negative log-likelihood is
    least (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, §4.2), found by
    golden-section search on its logarithm. `logits` has a row per window, `text` says whose.
    """
    windows = np.bincount(text, minlength=len(target))[:, None]

    def probabilities(temperature: float) -> np.ndarray:
        total = np.zeros((len(target), logits.shape[1]))
        np.add.at(total, text, softmax(logits / temperature))
        result: np.ndarray = total / windows
        return result

    def loss(log_temperature: float) -> float:
        of_truth = probabilities(float(np.exp(log_temperature)))[np.arange(len(target)), target]
        return float(-np.log(np.maximum(of_truth, 1e-12)).mean())

    low, high = np.log(COOLEST), np.log(HOTTEST)
    golden = (np.sqrt(5) - 1) / 2
    for _round in range(32):
        inner, outer = high - golden * (high - low), low + golden * (high - low)
        if loss(inner) <= loss(outer):
            high = outer
        else:
            low = inner
    best = float((low + high) / 2)
    answered = probabilities(float(np.exp(best))).argmax(axis=1)
    return Checked(loss(best), float((answered == target).mean()), float(np.exp(best)))
