"""Probabilities from margins: what makes a score of 0.9 right nine times in ten.

softmax(slope * margin + shift), fitted on margins that each came from a model which had not
seen the text. For two classes this is Platt's sigmoid ("Probabilistic outputs for support
vector machines", 1999), with his targets, which stay off 0 and 1 so that a faultless margin
does not become certainty. For more it is temperature scaling (Guo et al., "On calibration of
modern neural networks", ICML 2017) with a shift per class (Alexandari et al., ICML 2020).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MOST_SHIFTS = 32
"""Classes beyond which only the slope is fitted: a shift each costs classes² per record."""
LEAST_SLOPE = 0.05
LEAST_CHANCE = 0.1
"""At which a label can be an answer: of a label that nothing tells, the best expected F1 is that
of giving it to every text."""
_STEPS, _ENOUGH, _RIDGE = 50, 1e-9, 1e-6


class Calibration(NamedTuple):
    """`slope` (a number, or `[labels]` where each has its own) and `shift` `[classes]`."""

    slope: float | np.ndarray
    shift: np.ndarray


def calibrated(margins: np.ndarray, truth: np.ndarray, num_classes: int) -> Calibration:
    """The calibration of least negative log-likelihood, by Newton's method (it is convex).

    `margins` is `[records, classes]`, or `[records, 1]`, of the second class, for two; `truth`
    has class numbers. No BLAS: its sums depend on the number of threads.
    """
    own = margins if num_classes > 2 else np.hstack([np.zeros_like(margins), margins])
    own = own[:, :num_classes]
    targets = _targets(truth, num_classes)
    free = num_classes - 1 if num_classes <= MOST_SHIFTS else 0
    at = np.zeros(1 + free)
    at[0] = 1.0
    loss = _loss(own, targets, at)
    for _step in range(_STEPS):
        move = _newton(own, targets, at)
        size = 1.0
        while size > 1e-6 and _loss(own, targets, at - size * move) > loss:
            size /= 2
        new = _loss(own, targets, at - size * move)
        if loss - new < _ENOUGH:
            break
        at, loss = at - size * move, new
    # With a handful of records, margins may point the wrong way; then only their order counts.
    slope = max(float(at[0]), LEAST_SLOPE)
    return Calibration(slope, _shift(at, num_classes) if slope == at[0] else np.zeros(num_classes))


def independent(margins: np.ndarray, held: np.ndarray) -> Calibration:
    """A calibration of each column of `margins` `[records, labels]` by itself, `slope` and
    `shift` `[labels]`: 1 / (1 + exp(-(slope * margin + shift))) is one half where to answer «it
    has the label» (`held`, bool) is expected to give the best F1.

    That is where the calibrated probability is half of the best expected F1 (Lipton, Elkan,
    Naryanaswamy, "Optimal thresholding of classifiers to maximize F1 measure", 2014); the shift
    takes it to one half, and so moves the odds of all other probabilities alike.
    """
    num_labels = held.shape[1]
    slopes, shifts = np.empty(num_labels), np.empty(num_labels)
    for i in range(num_labels):
        slope, (_first, shift) = calibrated(margins[:, [i]], held[:, i].astype(np.int64), 2)
        if slope <= LEAST_SLOPE:
            # Margins that tell nothing leave the label as likely as it is on the whole.
            num = held[:, i].sum()
            shift = np.log((num + 1) / (len(held) - num + 1)) - slope * margins[:, i].mean()
        chance = 1 / (1 + np.exp(-(slope * margins[:, i] + shift)))
        half = max(_best_f1(chance) / 2, LEAST_CHANCE)
        slopes[i], shifts[i] = slope, shift - np.log(half / (1 - half))
    return Calibration(slopes, shifts)


def _best_f1(chance: np.ndarray) -> float:
    """The greatest expected F1 of answering yes to the likeliest so many."""
    sure = np.cumsum(np.sort(chance)[::-1])
    found = 2 * sure / (np.arange(1, len(sure) + 1) + sure[-1])
    return float(np.clip(found.max(), 1e-6, 1 - 1e-6))


def _targets(truth: np.ndarray, num_classes: int) -> np.ndarray:
    """One-hot rows, as if each class had been seen once more among its own records."""
    targets: np.ndarray = np.eye(num_classes)[truth]
    away = 1.0 / (np.bincount(truth, minlength=num_classes)[truth] + 2.0)[:, None]
    if num_classes == 1:
        return targets
    result: np.ndarray = targets * (1 - away) + (1 - targets) * away / (num_classes - 1)
    return result


def _shift(at: np.ndarray, num_classes: int) -> np.ndarray:
    shift = np.zeros(num_classes)
    shift[1 : len(at)] = at[1:]
    return shift


def _log_softmax(own: np.ndarray, at: np.ndarray) -> np.ndarray:
    z = at[0] * own + _shift(at, own.shape[1])
    z -= z.max(axis=1, keepdims=True)
    result: np.ndarray = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return result


def _loss(own: np.ndarray, targets: np.ndarray, at: np.ndarray) -> float:
    return -float((targets * _log_softmax(own, at)).sum()) / max(len(own), 1)


def _newton(own: np.ndarray, targets: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Newton's step: the inverse of the Hessian times the gradient."""
    chance = np.exp(_log_softmax(own, at))
    num, free = max(len(own), 1), len(at) - 1
    mean = (chance * own).sum(axis=1)
    left = chance - targets
    gradient = np.concatenate([[(left * own).sum()], left[:, 1 : free + 1].sum(axis=0)]) / num
    hessian = np.zeros((free + 1, free + 1))
    hessian[0, 0] = ((chance * own**2).sum(axis=1) - mean**2).sum()
    part = chance[:, 1 : free + 1]
    cross = (part * (own[:, 1 : free + 1] - mean[:, None])).sum(axis=0)
    hessian[0, 1:] = hessian[1:, 0] = cross
    hessian[1:, 1:] = np.diag(part.sum(axis=0)) - np.einsum("nk,nl->kl", part, part)
    step: np.ndarray = np.linalg.solve(hessian / num + _RIDGE * np.eye(free + 1), gradient)
    return step
