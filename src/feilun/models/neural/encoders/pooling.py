"""One vector per text from a vector per token, whatever stands in the padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from feilun.models.neural.graph import LOWEST

if TYPE_CHECKING:
    from feilun.models.neural.graph import Graph


def without_padding(x: Tensor, mask: Tensor) -> Tensor:
    """`x` `[batch, tokens, width]` with zeros where there is no token: what a convolution would
    see beyond a text's end if it stood alone."""
    return x * mask[:, :, None].to(x.dtype)


def masked_max(x: Tensor, mask: Tensor) -> Tensor:
    """The largest of the real tokens' numbers, `[batch, width]`."""
    return x.masked_fill(~mask[:, :, None], LOWEST).amax(dim=1)


def draw_without_padding(graph: Graph, x: str) -> str:
    """The nodes of `without_padding`."""
    return graph.node("Mul", x, graph.node("Unsqueeze", graph.real, graph.whole(2)))


def draw_max(graph: Graph, x: str, mask: str) -> str:
    """The nodes of `masked_max`; `mask` names int64 `[batch, tokens]`, 1 for a token."""
    real = graph.node("Unsqueeze", graph.node("Cast", mask, to=_BOOL), graph.whole(2))
    kept = graph.node("Where", real, x, graph.number(LOWEST))
    return graph.node("ReduceMax", kept, graph.whole(1), keepdims=0)


def activate(x: Tensor, name: str) -> Tensor:
    """`gelu` (the exact one), `relu`, `tanh` or `silu`, as `Graph.activation` draws them."""
    if name == "tanh":
        return torch.tanh(x)
    found: Tensor = getattr(torch.nn.functional, name)(x)
    return found


_BOOL = 9
"""onnx.TensorProto.BOOL."""
