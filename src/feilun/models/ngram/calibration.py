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
_STEPS, _ENOUGH, _RIDGE = 50, 1e-9, 1e-6


class Calibration(NamedTuple):
    """`slope` and `shift` `[classes]`."""

    slope: float
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
