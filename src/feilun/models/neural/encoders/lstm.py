"""A bidirectional LSTM (Hochreiter and Schmidhuber 1997; Graves and Schmidhuber 2005).

The backward half reads each text turned round within its own length, by one gather for the
batch. That is what packing by length (torch's `pack_padded_sequence`) computes, to 4e-7; but
torch's fused kernel takes no packed batch: a step of 32 texts × 30 tokens takes 7 ms against
18 (64 numbers, one thread), 20 against 36 (128), 10 against 25 (128, two threads).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor, nn

from feilun.models.neural.encoder import Encoder, Read, masked_mean
from feilun.models.neural.encoders import pooling
from feilun.models.neural.initial import initialise

if TYPE_CHECKING:
    from feilun.models.neural.graph import Graph

GATES = 4


class Shape(NamedTuple):
    """All that the network is built by; `hidden` counts the numbers of one direction."""

    vocabulary: int
    pad: int
    embedding: int
    hidden: int
    layers: int
    read: Read
    dropout: float = 0.0
    embedding_dropout: float = 0.0

    @property
    def width(self) -> int:
        """Numbers in a vector that it gives: both directions, and of a text two poolings."""
        return self.hidden * (2 if self.read == "states" else 4)


class Lstm(Encoder):
    """Both directions side by side; a text's vector is the largest and the mean of each number
    over its tokens."""

    def __init__(self, shape: Shape, initializer: str = "xavier") -> None:
        super().__init__()
        self.shape, self.width = shape, shape.width
        self.words = nn.Embedding(shape.vocabulary, shape.embedding, padding_idx=shape.pad)
        widths = [shape.embedding, *[2 * shape.hidden] * (shape.layers - 1)]
        self.onward = nn.ModuleList(_half(width, shape.hidden) for width in widths)
        self.back = nn.ModuleList(_half(width, shape.hidden) for width in widths)
        initialise(self, initializer)
        self._remember()

    def _remember(self) -> None:
        """Opens the forget gates: their bias begins at 1 (Jozefowicz et al., ICML 2015)."""
        hidden = self.shape.hidden
        for half in (*self.onward, *self.back):
            with torch.no_grad():
                half.bias_ih_l0[hidden : 2 * hidden] = 1.0

    def states(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """A vector per token: what was read up to it, and what was read back to it."""
        lengths = mask.sum(dim=1, keepdim=True)
        place = torch.arange(ids.shape[1], device=ids.device)
        turned = torch.where(place < lengths, lengths - 1 - place, place)[:, :, None]
        x = F.dropout(self.words(ids), self.shape.embedding_dropout, self.training)
        for i, (onward, backward) in enumerate(zip(self.onward, self.back, strict=True)):
            if i:
                x = F.dropout(x, self.shape.dropout, self.training)
            read_back = backward(x.gather(1, turned.expand_as(x)))[0]
            read_back = read_back.gather(1, turned.expand_as(read_back))
            x = torch.cat([onward(x)[0], read_back], dim=2)
        return x

    def pooled(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """The largest and the mean of each number over the tokens."""
        states = self.states(ids, mask)
        return torch.cat([pooling.masked_max(states, mask), masked_mean(states, mask)], dim=1)

    def draw(self, graph: Graph, read: Read) -> str:
        """The same as ONNX nodes; ONNX's LSTM knows each text's length by itself."""
        counts = graph.node("ReduceSum", graph.mask, graph.whole(1), keepdims=0)
        lengths = graph.node("Cast", counts, to=_INT32)
        x = graph.node("Gather", graph.weight(self.words.weight), graph.ids)
        x = graph.node("Transpose", x, perm=[1, 0, 2])
        for onward, backward in zip(self.onward, self.back, strict=True):
            # [tokens, 2, batch, hidden] → [tokens, batch, 2 · hidden]
            found = graph.several(
                "LSTM",
                1,
                x,
                *_parameters(graph, onward, backward),
                lengths,
                direction="bidirectional",
                hidden_size=self.shape.hidden,
            )[0]
            found = graph.node("Transpose", found, perm=[0, 2, 1, 3])
            x = graph.node("Reshape", found, graph.whole(0, 0, -1))
        states = graph.node("Transpose", x, perm=[1, 0, 2])
        if read == "states":
            return states
        largest = pooling.draw_max(graph, states, graph.mask)
        return graph.node("Concat", largest, graph.mean(states), axis=1)

    def config(self) -> dict[str, Any]:
        """The shape, under the model type `feilun-lstm`."""
        return {"model_type": "feilun-lstm", **self.shape._asdict()}

    def groups(self) -> list[list[nn.Parameter]]:
        """The embedding, then layer by layer."""
        both = zip(self.onward, self.back, strict=True)
        layers = [[*onward.parameters(), *backward.parameters()] for onward, backward in both]
        return [list(self.words.parameters()), *layers]

    def macs(self, length: int, read: Read) -> float:
        """Every weight of both directions once per token."""
        halves = [*self.onward, *self.back]
        return float(length * sum(p.numel() for half in halves for p in half.parameters()))

    def activations(self, length: int, read: Read) -> float:
        """The embedding, and of each layer both directions' gates, cells, and states (found,
        turned and joined)."""
        per_layer = 2 * self.shape.hidden * (GATES + 5)
        return float(length * (2 * self.shape.embedding + self.shape.layers * per_layer))


def _half(width: int, hidden: int) -> nn.LSTM:
    return nn.LSTM(width, hidden, batch_first=True)


def _parameters(graph: Graph, onward: nn.Module, backward: nn.Module) -> list[str]:
    """ONNX's W, R and B of both directions; its gates stand as i, o, f, c, torch's as i, f, c,
    o."""

    def arranged(half: nn.Module, name: str) -> np.ndarray:
        value = getattr(half, name).detach().cpu().numpy()
        gate_in, gate_forget, cell, gate_out = np.split(value, GATES)
        return np.concatenate([gate_in, gate_out, gate_forget, cell])

    base = graph.named(onward.weight_ih_l0).removesuffix(".weight_ih_l0")  # type: ignore[arg-type]  # a parameter

    def both(*names: str) -> np.ndarray:
        return np.stack(
            [np.concatenate([arranged(half, n) for n in names]) for half in (onward, backward)]
        )

    return [
        graph.constant(f"{base}.W", both("weight_ih_l0")),
        graph.constant(f"{base}.R", both("weight_hh_l0")),
        graph.constant(f"{base}.B", both("bias_ih_l0", "bias_hh_l0")),
    ]


_INT32 = 6
"""onnx.TensorProto.INT32."""
