"""What every network of ours is made on: something that turns token ids into vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from feilun.models.neural.graph import Graph
    from feilun.models.neural.heads import Head

Read = Literal["states", "pooled", "embedding"]
"""What a head reads of an encoder: a vector per token, one per text to judge it by, or one per
text to compare it with others by."""


class Layout(NamedTuple):
    """A network as its files hold it: `config.json`, the tensors of `model.safetensors` under
    the names that others expect, and those of `feilun-head.safetensors`, which have no place in
    such a file (mostly none)."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    beside: dict[str, Tensor]


class Encoder(torch.nn.Module, ABC):
    """Token ids in, vectors out: one per token, or one per text.

    All methods take `ids` (int64) and `mask` (bool, true for a real token), both
    `[batch, tokens]` with the padding at the end, and `kinds` (int64 of the same shape; 0 for
    the first text of a pair and 1 for the second, None where there is one text).
    `self.training` decides about dropout. What is not to be trained has `requires_grad` off.
    """

    width: int

    @abstractmethod
    def states(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """A vector per token, `[batch, tokens, width]`; whatever at the padding."""

    def pooled(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """A vector per text, `[batch, width]`, that heads judge it by: the states' mean."""
        return masked_mean(self.states(ids, mask, kinds), mask)

    def embedding(self, ids: Tensor, mask: Tensor) -> Tensor:
        """A vector per text, `[batch, width]`, that texts are compared by: `pooled`."""
        return self.pooled(ids, mask)

    @abstractmethod
    def draw(self, graph: Graph, read: Read) -> str:
        """The ONNX nodes that do the same without dropout, from `graph.ids`, `graph.mask` and
        `graph.kinds`; returns the name of the output, `[batch, tokens, width]` for `states`,
        else `[batch, width]`."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The content of `config.json`; `layout` adds what the head knows."""

    def layout(self, head: Head) -> Layout:
        """The network of this encoder and `head` as files: the parameters' own names; of the head
        its `linear`, unless that reads pairs, and the rest beside. An encoder that another
        library can open overrides it."""
        tensors = {f"encoder.{name}": value for name, value in self.state_dict().items()}
        beside = {f"head.{name}": value for name, value in head.state_dict().items()}
        if head.read != "embedding":
            for part in ("weight", "bias"):
                tensors[f"head.linear.{part}"] = beside.pop(f"head.linear.{part}")
        return Layout({**self.config(), **head.config()}, tensors, beside)

    def groups(self) -> list[list[torch.nn.Parameter]]:
        """The parameters in layers from the bottom to the top, for layer-wise learning rates;
        all in one where there are no layers to speak of. Those not to be trained may be in it."""
        return [list(self.parameters())]

    @abstractmethod
    def macs(self, length: int, read: Read) -> float:
        """Multiply-adds of one forward pass over one text of `length` tokens."""

    @abstractmethod
    def activations(self, length: int, read: Read) -> float:
        """How many numbers one text of `length` tokens leaves in memory for the backward pass,
        to within a third."""

    def settle(self) -> None:
        """Folds what only training needs into the weights (LoRA); called once, before the
        network is written."""


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real tokens' states, `[batch, width]`."""
    weight = mask.to(states.dtype)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("btw,bt->bw", states, weight)
