"""Bottleneck adapters: a little of a network to train, the rest left as it is.

Houlsby et al., Parameter-Efficient Transfer Learning for NLP (ICML 2019): in every layer one
after attention's output and one after the feed-forward's, each before its residual sum.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor

from feilun.models.neural.initial import SPREAD


class Adapter(torch.nn.Module):
    """A linear layer with a bottleneck after it: y + up(gelu(down(y))), y = linear(x).

    `linear` is the network's own, and frozen with it. `up` begins at zero, so that the network
    begins as it was.
    """

    def __init__(self, linear: torch.nn.Linear, size: int) -> None:
        super().__init__()
        self.linear = linear
        self.down = torch.nn.Linear(linear.out_features, size)
        self.up = torch.nn.Linear(size, linear.out_features)
        torch.nn.init.normal_(self.down.weight, std=SPREAD)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            torch.nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        """The linear layer's output, corrected."""
        y: Tensor = self.linear(x)
        corrected: Tensor = y + self.up(F.gelu(self.down(y)))
        return corrected


def add_adapters(body: torch.nn.Module, names: list[str], size: int) -> None:
    """Freezes `body` and puts an adapter of `size` behind each of its linear layers `names`."""
    body.requires_grad_(False)
    for name in names:
        parent, _dot, last = name.rpartition(".")
        linear = body.get_submodule(name)
        assert isinstance(linear, torch.nn.Linear)
        setattr(body.get_submodule(parent), last, Adapter(linear, size))


def split_adapters(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state with adapters as the network's own, under the names it had without them, and the
    adapters'."""
    own: dict[str, Tensor] = {}
    added: dict[str, Tensor] = {}
    wrapped = {n.removesuffix("down.weight") for n in tensors if n.endswith(".down.weight")}
    for name, value in tensors.items():
        base = next((one for one in wrapped if name.startswith(one)), None)
        if base is None:
            own[name] = value
        elif name.startswith(f"{base}linear."):
            own[base + name.removeprefix(f"{base}linear.")] = value
        else:
            added[name] = value
    return own, added
