"""How much each of several models counts: found on records that none of them learnt from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

FOLDS = 5
STEPS = 300
RATE = 0.3
SHRINK = 0.02
"""Pull towards counting alike, per unit of squared distance of the logarithms: validation splits
are small."""


def combined(asked: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean over members `[members, rows, columns]`; a member with NaN in a row
    does not count there, and a row of which no member knows anything is NaN. The
    weights' sum is kept, so that what is left speaks as loudly."""
    known = ~np.isnan(asked).any(axis=2)
    counting = weights[:, None] * known
    total = counting.sum(axis=0)
    # Where all that know something count for nothing, they count alike.
    alike = np.where(known, 1.0 / np.maximum(known.sum(axis=0), 1), 0.0) * weights.sum()
    counting = np.where(total > 0, counting * (weights.sum() / np.maximum(total, 1e-12)), alike)
    found: np.ndarray = np.einsum("mr,mrc->rc", counting, np.nan_to_num(asked))
    found[~known.any(axis=0)] = np.nan
    return found


def weighed(asked: np.ndarray, truth: np.ndarray, kind: str, seed: int) -> np.ndarray:
    """Weights `[members]` for `asked` `[members, rows, columns]`.

    `kind` is `one` (log-probabilities, `truth` one-hot), `several` (log-odds) or `value`. Each
    member alone, all alike, and weights fitted by gradient descent on the logarithms of the
    weights are compared by their cross-validated loss; the simplest within one standard error of
    the best is taken, then found on all rows. The weights of `one` and `several` hold a
    temperature: their sum need not be 1. Rows that no member knows do not count.
    """
    rows = np.flatnonzero(~np.isnan(asked).any(axis=2).all(axis=0))
    asked, truth = asked[:, rows], truth[rows]
    members, num_rows = asked.shape[:2]
    ways = _ways(members, kind)
    if num_rows < 2 * FOLDS:
        return np.full(members, 1.0 / members)
    fold = np.random.default_rng(seed).permutation(num_rows) % FOLDS
    losses = np.empty((len(ways), num_rows))
    for number, way in enumerate(ways):
        for one in range(FOLDS):
            held = fold == one
            weights = way(asked[:, ~held], truth[~held])
            losses[number, held] = _loss(combined(asked[:, held], weights), truth[held], kind)
    best = int(losses.mean(axis=1).argmin())
    for number, way in enumerate(ways):
        worse = losses[number] - losses[best]
        error = worse.std() / np.sqrt(num_rows)
        if worse.mean() <= error:
            return way(asked, truth)
    raise AssertionError("unreachable: the best is not worse than itself")


Way = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _ways(members: int, kind: str) -> list[Way]:
    """The simplest first: each member alone, all alike, fitted."""

    def alone(which: int) -> Way:
        def way(asked: np.ndarray, truth: np.ndarray) -> np.ndarray:
            start = np.full(members, 0.0)
            start[which] = 1.0
            return start * _temperature(asked, truth, start, kind)

        return way

    def alike(asked: np.ndarray, truth: np.ndarray) -> np.ndarray:
        start = np.full(members, 1.0 / members)
        return start * _temperature(asked, truth, start, kind)

    def fitted(asked: np.ndarray, truth: np.ndarray) -> np.ndarray:
        return _descend(asked, truth, alike(asked, truth), kind)

    return [*(alone(which) for which in range(members)), alike, fitted]


def _temperature(asked: np.ndarray, truth: np.ndarray, weights: np.ndarray, kind: str) -> float:
    """By what the weights are multiplied for the least loss: a mean of members that err in
    different places is less sure than it may be."""
    if kind == "value":
        return 1.0
    mean = combined(asked, weights)
    known = ~np.isnan(mean).any(axis=1)
    tried = np.exp(np.linspace(np.log(0.25), np.log(4.0), 49))
    losses = [float(_loss(mean[known] * t, truth[known], kind).mean()) for t in tried]
    return float(tried[int(np.argmin(losses))])


def _descend(asked: np.ndarray, truth: np.ndarray, start: np.ndarray, kind: str) -> np.ndarray:
    """Gradient descent with momentum on the logarithms of the weights."""
    filled = np.where(np.isnan(asked), np.nanmean(asked, axis=0, keepdims=True), asked)
    origin = np.log(np.maximum(start, 1e-6))
    logs, speed = origin.copy(), np.zeros_like(start)
    scale = max(float(truth.var()), 1e-12) if kind == "value" else 1.0
    for _step in range(STEPS):
        weights = np.exp(logs)
        if kind == "value":
            weights = weights / weights.sum()
        mean = np.einsum("m,mrc->rc", weights, filled)
        if kind == "value":
            pull = 2 * (mean - truth) / scale
        elif kind == "one":
            raised = np.exp(mean - mean.max(axis=1, keepdims=True))
            pull = raised / raised.sum(axis=1, keepdims=True) - truth
        else:
            pull = 1 / (1 + np.exp(-mean)) - truth
        slope = np.einsum("mrc,rc->m", filled, pull) / len(truth)
        if kind == "value":
            slope = slope - float(weights @ slope)
        slope = weights * slope + 2 * SHRINK * (logs - origin) / len(start)
        speed = 0.8 * speed - RATE * slope
        logs = np.clip(logs + speed, -12.0, 3.0)
    weights = np.exp(logs)
    result: np.ndarray = weights / weights.sum() if kind == "value" else weights
    return result


def _loss(found: np.ndarray, truth: np.ndarray, kind: str) -> np.ndarray:
    """Per row: the negative log-likelihood, or the squared error."""
    if kind == "value":
        result: np.ndarray = ((found - truth) ** 2).sum(axis=1)
    elif kind == "one":
        top = found.max(axis=1, keepdims=True)
        total = np.log(np.exp(found - top).sum(axis=1)) + top[:, 0]
        result = total - (found * truth).sum(axis=1)
    else:
        result = (np.logaddexp(0, found) - truth * found).sum(axis=1)
    return result
