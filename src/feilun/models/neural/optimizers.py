"""From a gradient to a step: optimizers, and how their rate rises and falls."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from feilun.models.neural.network import Network

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural


def optimizer_for(settings: Neural, network: Network) -> torch.optim.Optimizer:
    """The optimizer that `settings` name, over all that is trained, in one kernel per step
    where torch has one.

    Only matrices decay, as in BERT's own training. Each group's `share` says by what the rate
    is multiplied for it: `layer_decay` to the power of its layers below the head.
    """
    assert settings.learning_rate is not None
    groups = _groups(settings, network)
    rate, decay = settings.learning_rate, settings.weight_decay
    kind = settings.optimizer
    if kind in {"sgd", "momentum", "nesterov"}:
        momentum = 0.0 if kind == "sgd" else settings.momentum
        return torch.optim.SGD(
            groups, lr=rate, momentum=momentum, nesterov=kind == "nesterov", fused=True
        )
    if kind == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, momentum=settings.momentum)
    if kind == "adafactor":
        return torch.optim.Adafactor(groups, lr=rate)
    adam: Any = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    made: torch.optim.Optimizer = adam(groups, lr=rate, weight_decay=decay, fused=True)
    return made


def _groups(settings: Neural, network: Network) -> list[dict[str, Any]]:
    """Parameters by layer, those that decay apart from those that do not."""
    layers = [*network.encoder.groups(), list(network.head.parameters())]
    if settings.layer_decay == 1.0:
        layers = [[parameter for layer in layers for parameter in layer]]
    groups = []
    for height, layer in enumerate(reversed(layers)):
        for matrices in (True, False):
            members = [p for p in layer if p.requires_grad and (p.ndim > 1) == matrices]
            if members:
                decay = settings.weight_decay if matrices else 0.0
                share = settings.layer_decay**height
                groups.append({"params": members, "weight_decay": decay, "share": share})
    return groups


def rate_at(step: int, total: int, warmup: float, schedule: str) -> float:
    """The share of the highest learning rate at `step` of `total`: a line up over `warmup` of
    the steps, then a line or half a cosine wave down to 0, or no fall at all."""
    rising = int(total * warmup)
    if step < rising:
        return (step + 1) / rising
    if schedule == "constant":
        return 1.0
    left = max(total - step, 0) / max(total - rising, 1)
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2
