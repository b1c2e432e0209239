"""Vectors of tokens averaged, then a few layers: the fast network.

A text's vector: the mean and the largest of its tokens' vectors, through hidden layers (Iyyer
et al., Deep Unordered Composition Rivals Syntactic Methods for Text Classification, ACL 2015),
and with them the vectors of neighbouring tokens taken together, from a table that they share
by a hash (Joulin et al., Bag of Tricks for Efficient Text Classification, EACL 2017). A token's
vector: hidden layers over the tokens around it (Collobert et al., Natural Language Processing
(Almost) from Scratch, JMLR 2011).
"""

from __future__ import annotations

from itertools import pairwise
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

FACTOR, PRIME = 1_000_003, 2**31 - 1
"""Of the hash of neighbours: h ← (h · FACTOR + id) mod PRIME, which 64 bits always hold."""


class Shape(NamedTuple):
    """All that the network is built by.

    `neighbours` tokens at most are looked up together among `buckets` rows; with `hashed`
    single tokens are, too, and there is no row for each. `around` tokens at each side of a
    token are read with it where vectors of tokens are asked for.
    """

    vocabulary: int
    pad: int
    embedding: int
    hidden: int
    layers: int
    read: Read
    hashed: bool = False
    neighbours: int = 1
    buckets: int = 0
    around: int = 2
    activation: str = "relu"
    dropout: float = 0.0
    embedding_dropout: float = 0.0

    @property
    def seen(self) -> int:
        """Numbers that the first hidden layer reads."""
        return self.embedding * (2 * self.around + 1 if self.read == "states" else 2)

    @property
    def orders(self) -> range:
        """How many neighbouring tokens are looked up together: 1, 2, …"""
        return range(1, 2 if self.read == "states" else self.neighbours + 1)


class Mlp(Encoder):
    """Averages, or windows, through hidden layers."""

    def __init__(self, shape: Shape, initializer: str = "xavier") -> None:
        super().__init__()
        self.shape, self.width = shape, shape.hidden
        if not shape.hashed:
            self.words = nn.Embedding(shape.vocabulary, shape.embedding, padding_idx=shape.pad)
        if shape.hashed or len(shape.orders) > 1:
            self.shared = nn.Embedding(shape.buckets, shape.embedding)
        widths = [shape.seen, *[shape.hidden] * shape.layers]
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        initialise(self, initializer)

    def _looked_up(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of the tokens, then of two neighbours, …, and which of them there are: both
        with as many columns as there are tokens for each."""
        vectors, there = [], []
        key, both, next_ids, next_mask = ids, mask, ids, mask
        for order in self.shape.orders:
            if order > 1:
                next_ids, next_mask = (
                    F.pad(next_ids, (0, 1))[:, 1:],
                    F.pad(next_mask, (0, 1))[:, 1:],
                )
                key, both = (key * FACTOR + next_ids) % PRIME, both & next_mask
            if order > 1 or self.shape.hashed:
                vectors.append(self.shared(_scattered(key) % self.shape.buckets))
            else:
                vectors.append(self.words(key))
            there.append(both)
        found, which = torch.cat(vectors, dim=1), torch.cat(there, dim=1)
        if self.training and self.shape.embedding_dropout:
            # Whole tokens, as Iyyer et al. do.
            found = found * F.dropout(
                torch.ones_like(found[:, :, :1]), self.shape.embedding_dropout
            )
        return found, which

    def _through(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.hidden):
            x = F.dropout(x, self.shape.dropout, self.training) if i else x
            x = pooling.activate(layer(x), self.shape.activation)
        return x

    def states(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """A vector per token, from it and `around` tokens at each side."""
        x = pooling.without_padding(self._looked_up(ids, mask)[0], mask)
        around, tokens = self.shape.around, ids.shape[1]
        x = F.pad(x, (0, 0, around, around))
        return self._through(
            torch.cat([x[:, i : i + tokens] for i in range(2 * around + 1)], dim=2)
        )

    def pooled(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """The mean and the largest of all that was looked up, through the hidden layers."""
        found, there = self._looked_up(ids, mask)
        both = [masked_mean(found, there), pooling.masked_max(found, there)]
        return self._through(torch.cat(both, dim=1))

    def draw(self, graph: Graph, read: Read) -> str:
        """The same as ONNX nodes."""
        found, there = self._draw_looked_up(graph)
        if read != "states":
            real = graph.node("Cast", there, to=_FLOAT)
            total = graph.node(
                "ReduceSum",
                graph.node("Mul", found, graph.node("Unsqueeze", real, graph.whole(2))),
                graph.whole(1),
                keepdims=0,
            )
            count = graph.node("ReduceSum", real, graph.whole(1), keepdims=1)
            mean = graph.node("Div", total, graph.node("Max", count, graph.number(1.0)))
            x = graph.node("Concat", mean, pooling.draw_max(graph, found, there), axis=1)
            return self._draw_through(graph, x)
        x = pooling.draw_without_padding(graph, found)
        around = self.shape.around
        if around:
            x = graph.node("Pad", x, graph.whole(0, around, 0, 0, around, 0))
            parts = []
            for i in range(2 * around + 1):
                end = graph.node("Add", graph.tokens, graph.whole(i))
                parts.append(graph.node("Slice", x, graph.whole(i), end, graph.whole(1)))
            x = graph.node("Concat", *parts, axis=2)
        rows = self._draw_through(graph, graph.rows(x, self.shape.seen))
        return graph.texts(rows, self.width)

    def _draw_looked_up(self, graph: Graph) -> tuple[str, str]:
        """The nodes of `_looked_up`; both names of int64 or float32 `[batch, tokens …]`."""
        vectors, there = [], []
        key, both, next_ids, next_mask = graph.ids, graph.mask, graph.ids, graph.mask
        for order in self.shape.orders:
            if order > 1:
                next_ids, next_mask = (_draw_next(graph, x) for x in (next_ids, next_mask))
                raised = graph.node("Mul", key, graph.whole(FACTOR))
                key = graph.node("Mod", graph.node("Add", raised, next_ids), graph.whole(PRIME))
                both = graph.node("Mul", both, next_mask)
            if order > 1 or self.shape.hashed:
                scattered = graph.node("Mul", key, graph.whole(FACTOR))
                scattered = graph.node("Mod", scattered, graph.whole(PRIME))
                row = graph.node("Mod", scattered, graph.whole(self.shape.buckets))
                vectors.append(graph.node("Gather", graph.weight(self.shared.weight), row))
            else:
                vectors.append(graph.node("Gather", graph.weight(self.words.weight), key))
            there.append(both)
        if len(vectors) == 1:
            return vectors[0], there[0]
        return graph.node("Concat", *vectors, axis=1), graph.node("Concat", *there, axis=1)

    def _draw_through(self, graph: Graph, x: str) -> str:
        for layer in self.hidden:
            assert isinstance(layer, nn.Linear)
            x = graph.activation(graph.linear(x, layer), self.shape.activation)
        return x

    def config(self) -> dict[str, Any]:
        """The shape, under the model type `feilun-mlp`."""
        return {"model_type": "feilun-mlp", **self.shape._asdict()}

    def groups(self) -> list[list[nn.Parameter]]:
        """The tables, then layer by layer."""
        hidden = [list(layer.parameters()) for layer in self.hidden]
        above = {id(parameter) for layer in hidden for parameter in layer}
        return [[p for p in self.parameters() if id(p) not in above], *hidden]

    def macs(self, length: int, read: Read) -> float:
        """Every weight of the hidden layers once, per text or per token, and the sums."""
        once = sum(parameter.numel() for layer in self.hidden for parameter in layer.parameters())
        if self.shape.read == "states":
            return float(length * once)
        return float(once + 2 * length * len(self.shape.orders) * self.shape.embedding)

    def activations(self, length: int, read: Read) -> float:
        """What was looked up, found, masked and dropped, and of the hidden layers inputs and
        outputs."""
        looked_up = 3 * length * len(self.shape.orders) * self.shape.embedding
        once = self.shape.seen + 3 * self.shape.hidden * self.shape.layers
        return float(looked_up + once * (length if self.shape.read == "states" else 1))


def _scattered(key: Tensor) -> Tensor:
    """Keys spread once more: the rows of near ids are not near."""
    return key * FACTOR % PRIME


def _draw_next(graph: Graph, x: str) -> str:
    """Int64 `[batch, tokens]` moved by one: at each token what stands at the next, 0 at last."""
    zero = graph.constant("int_zero", np.array(0, dtype=np.int64))
    padded = graph.node("Pad", x, graph.whole(0, 0, 0, 1), zero)
    return graph.node("Slice", padded, graph.whole(1), graph.whole(2**31), graph.whole(1))


_FLOAT = 1
"""onnx.TensorProto.FLOAT."""
