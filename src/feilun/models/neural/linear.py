"""Linear models on given features, fitted to the end: the head of `frozen`.

Features are standardised within, and the standardisation is folded into what is returned; how
much the weights are held back (L2) is chosen by inner cross-validation. Everything is float64
and on the CPU, so that the same features give the same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor

STRENGTHS = tuple(10.0**power for power in (1, 0, -1, -2, -3, -4, -5))
"""The penalties tried, the strongest first: λ·‖w‖²/2 beside the mean loss of an example."""
FOLDS = 4
SAMPLE = 6_000
"""At most so many rows decide about the penalty; all of them are fitted with it."""
STEPS = 100

Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits and target `[rows, outputs]` to a loss per row `[rows]`."""


class Linear(NamedTuple):
    """`weight` `[outputs, features]`, `bias` `[outputs]`, and the `strength` of the penalty."""

    weight: Tensor
    bias: Tensor
    strength: float


class Rows(NamedTuple):
    """What is fitted: `features` `[rows, features]`, `target` `[rows, outputs]`, `weight`
    `[rows]` of each row, and `group` `[rows]`: rows of one text stay in one fold."""

    features: Tensor
    target: Tensor
    weight: Tensor
    group: Tensor

    def at(self, rows: Tensor) -> Rows:
        """Some of them."""
        return Rows(*(part[rows] for part in self))


def softmax_loss(logits: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy with probabilities `target`."""
    return -(target * logits.log_softmax(1)).sum(1)


def sigmoid_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Each output's binary cross-entropy, summed."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)


def squared_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Half the squared error (ridge regression)."""
    return ((logits - target) ** 2).sum(1) / 2


def fitted(
    rows: Rows, loss: Loss, strength: float | None, told: Callable[[int, int], None]
) -> Linear:
    """The linear model of least penalised loss; a `strength` left out is the one of
    `STRENGTHS` that does best in 4-fold cross-validation. `told(done, total)` is called on the
    way."""
    mean = rows.features.mean(0)
    spread = rows.features.std(0, correction=0).clamp(min=1e-9)
    scaled = rows._replace(features=(rows.features - mean) / spread)
    if strength is None:
        strength = _strength(scaled, loss, told)
    weight, bias = _solved(scaled, loss, strength, None)
    weight = weight / spread
    return Linear(weight, bias - weight @ mean, strength)


def _strength(rows: Rows, loss: Loss, told: Callable[[int, int], None]) -> float:
    groups = int(rows.group.max()) + 1
    order = torch.randperm(groups, generator=torch.Generator().manual_seed(0))
    fold = torch.empty(groups, dtype=torch.int64)
    fold[order] = torch.arange(groups) % FOLDS
    fold = fold[rows.group]
    if groups < 2 * FOLDS:
        return 1e-2
    stride = max(len(fold) // SAMPLE, 1)
    learnt = [rows.at((fold != number).nonzero()[:, 0][::stride]) for number in range(FOLDS)]
    held = [rows.at((fold == number).nonzero()[:, 0][::stride]) for number in range(FOLDS)]
    starts: list[tuple[Tensor, Tensor] | None] = [None] * FOLDS
    best, chosen = float("inf"), STRENGTHS[0]
    for i, strength in enumerate(STRENGTHS):
        total = 0.0
        for number in range(FOLDS):
            # From the strongest penalty to the weakest, each begins where the last ended.
            weight, bias = starts[number] = _solved(learnt[number], loss, strength, starts[number])
            found = loss(held[number].features @ weight.T + bias, held[number].target)
            total += float((found * held[number].weight).sum())
        told(i + 1, len(STRENGTHS))
        if total > best:
            break  # the weaker, the worse from here on, and the longer to fit
        best, chosen = total, strength
    return chosen


def _solved(
    rows: Rows, loss: Loss, strength: float, start: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor]:
    """Weights and bias by L-BFGS (Liu and Nocedal 1989) with a line search."""
    outputs, width = rows.target.shape[1], rows.features.shape[1]
    if start is None:
        start = (
            torch.zeros(outputs, width, dtype=torch.float64),
            torch.zeros(outputs, dtype=torch.float64),
        )
    weight, bias = (one.clone().requires_grad_() for one in start)
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=STEPS,
        history_size=10,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )
    share = rows.weight / rows.weight.sum()

    def closure() -> Tensor:
        solver.zero_grad()
        found = loss(rows.features @ weight.T + bias, rows.target)
        value = (found * share).sum() + strength / 2 * (weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return weight.detach(), bias.detach()
