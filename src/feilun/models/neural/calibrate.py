"""Figures on the validation split, and what of them is folded into the finished network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

COOLEST, HOTTEST = 0.5, 10.0
"""Limits of the temperature: a small validation split that is answered without an error asks
for none at all, that is, for certainty."""
FEWEST_POSITIVE = 5
"""Texts that must have a label before a threshold of its own is sought."""
HELD = 0.9
"""The share of validation residuals within a value's interval."""


class Checked(NamedTuple):
    """The validation loss, metrics by name, and what the finished network takes over from them:
    a temperature, or a threshold per label, or (low, high) of the residuals."""

    loss: float
    metrics: dict[str, float]
    fold: tuple[float, ...] = ()


NOTHING = Checked(float("nan"), {})
"""What is known without validation."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: np.ndarray = raised / raised.sum(axis=-1, keepdims=True)
    return result


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of each figure on its own."""
    result: np.ndarray = 0.5 * (1 + np.tanh(0.5 * logits))
    return result


def averaged(figures: np.ndarray, text: np.ndarray, num_texts: int) -> np.ndarray:
    """The mean of each text's windows, `[num_texts, columns]` float64."""
    total = np.zeros((num_texts, figures.shape[1]))
    np.add.at(total, text, figures)
    result: np.ndarray = total / np.maximum(np.bincount(text, minlength=num_texts), 1)[:, None]
    return result


def classes(logits: np.ndarray, text: np.ndarray, target: np.ndarray) -> Checked:
    """The temperature that makes probabilities honest, and loss and accuracy with it.

    One number divides every logit so that the validation texts' negative log-likelihood is
    least (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, §4.2). `logits` has
    a row per window (or token), `text` says whose.
    """

    def probabilities(temperature: float) -> np.ndarray:
        return averaged(softmax(logits / temperature), text, len(target))

    def loss(temperature: float) -> float:
        of_truth = probabilities(temperature)[np.arange(len(target)), target]
        return float(-np.log(np.maximum(of_truth, 1e-12)).mean())

    best = _least(loss)
    right = probabilities(best).argmax(axis=1) == target
    return Checked(loss(best), {"accuracy": float(right.mean())}, (best,))


def _least(loss: Callable[[float], float]) -> float:
    """The temperature of the least loss: golden-section search on its logarithm."""
    low, high = np.log(COOLEST), np.log(HOTTEST)
    golden = (np.sqrt(5) - 1) / 2
    inner, outer = high - golden * (high - low), low + golden * (high - low)
    of_inner, of_outer = loss(float(np.exp(inner))), loss(float(np.exp(outer)))
    for _round in range(32):
        if of_inner <= of_outer:
            high, outer, of_outer = outer, inner, of_inner
            inner = high - golden * (high - low)
            of_inner = loss(float(np.exp(inner)))
        else:
            low, inner, of_inner = inner, outer, of_outer
            outer = low + golden * (high - low)
            of_outer = loss(float(np.exp(outer)))
    return float(np.exp((low + high) / 2))


def several(logits: np.ndarray, text: np.ndarray, target: np.ndarray) -> Checked:
    """Each label's threshold, and the loss per label and micro F1 with them.

    A label's threshold is where its F1 is best, halfway between two texts' probabilities; one
    half for a label that fewer than 5 texts have.
    """
    found = averaged(sigmoid(logits), text, len(target))
    truth = target >= 0.5
    thresholds = [_threshold(found[:, i], truth[:, i]) for i in range(target.shape[1])]
    safe = np.clip(found, 1e-12, 1 - 1e-12)
    loss = float(-(target * np.log(safe) + (1 - target) * np.log(1 - safe)).mean())
    answered = found >= np.array(thresholds)
    hits = float((answered & truth).sum())
    micro = 2 * hits / max(float(answered.sum() + truth.sum()), 1.0)
    return Checked(loss, {"micro_f1": micro}, tuple(thresholds))


def _threshold(found: np.ndarray, truth: np.ndarray) -> float:
    if truth.sum() < FEWEST_POSITIVE:
        return 0.5
    order = np.argsort(-found, kind="stable")
    hits = np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + truth.sum())
    ranked = found[order]
    # A threshold cannot stand between two that are alike.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1
    best = int(f1.argmax())
    below = ranked[best + 1] if best + 1 < len(ranked) else ranked[best] / 2
    return float(np.clip((ranked[best] + below) / 2, 0.01, 0.99))


def value(found: np.ndarray, text: np.ndarray, target: np.ndarray, spread: float) -> Checked:
    """The loss (mean squared error of what is standardised), mean absolute error in the
    records' own measure, and the offsets that hold 90 % of the residuals. `found` and `target`
    are standardised."""
    residual = target - averaged(found, text, len(target))[:, 0]
    tail = (1 - HELD) / 2
    interval = (
        float(np.quantile(residual, tail, method="lower") * spread),
        float(np.quantile(residual, 1 - tail, method="higher") * spread),
    )
    error = float(np.abs(residual).mean() * spread)
    return Checked(float((residual**2).mean()), {"mae": error}, interval)
