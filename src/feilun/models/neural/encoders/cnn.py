"""Convolutions over a text's tokens.

A text's vector: convolutions of several widths side by side, each filter's largest answer
(Kim, Convolutional Neural Networks for Sentence Classification, EMNLP 2014). A token's vector:
dilated convolutions of width 3 on top of each other, which see 3, 7, 15, … tokens (Strubell et
al., Fast and Accurate Entity Recognition with Iterated Dilated Convolutions, EMNLP 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor, nn

from feilun.models.neural.encoder import Encoder, Read
from feilun.models.neural.encoders import pooling
from feilun.models.neural.initial import initialise

if TYPE_CHECKING:
    from feilun.models.neural.graph import Graph

SEEN = 3
"""Tokens that each of the convolutions on top of each other sees."""
FARTHEST = 4
"""The largest step between them: 1, 2, 4, then 1 again."""


class Shape(NamedTuple):
    """All that the network is built by; `read` as in `Encoder.draw`."""

    vocabulary: int
    pad: int
    embedding: int
    filters: int
    windows: tuple[int, ...]
    layers: int
    read: Read
    activation: str = "relu"
    dropout: float = 0.0
    embedding_dropout: float = 0.0

    @property
    def width(self) -> int:
        """Numbers in a vector that it gives."""
        return self.filters * len(self.windows)


class Cnn(Encoder):
    """Convolutions; `states` where it was built to be read by token, `pooled` where by text.

    A text is padded with zeros at both ends, so that one shorter than a window has an answer,
    and what stands after it in a batch counts as zeros, too.
    """

    def __init__(self, shape: Shape, initializer: str = "normal") -> None:
        super().__init__()
        self.shape, self.width = shape, shape.width
        self.words = nn.Embedding(shape.vocabulary, shape.embedding, padding_idx=shape.pad)
        if shape.read == "states":
            widths = [shape.embedding, *[shape.width] * (shape.layers - 1)]
            made = [
                nn.Conv1d(width, shape.width, SEEN, dilation=min(2 ** (i % 3), FARTHEST))
                for i, width in enumerate(widths)
            ]
        else:
            made = [nn.Conv1d(shape.embedding, shape.filters, n) for n in shape.windows]
        self.convolutions = nn.ModuleList(made)
        initialise(self, initializer)

    def _embedded(self, ids: Tensor, mask: Tensor) -> Tensor:
        words = pooling.without_padding(self.words(ids), mask)
        return F.dropout(words, self.shape.embedding_dropout, self.training)

    def states(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """A vector per token; each layer but the first adds to what is below it."""
        x = self._embedded(ids, mask)
        for i, layer in enumerate(self.convolutions):
            found = pooling.activate(_answers(x, layer), self.shape.activation)
            found = F.dropout(found, self.shape.dropout, self.training)
            x = pooling.without_padding(found + x if i else found, mask)
        return x

    def pooled(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """The largest answer of every filter."""
        x = self._embedded(ids, mask)
        answers = torch.cat([_answers(x, layer) for layer in self.convolutions], dim=2)
        return pooling.masked_max(pooling.activate(answers, self.shape.activation), mask)

    def draw(self, graph: Graph, read: Read) -> str:
        """The same as ONNX nodes."""
        words = graph.node("Gather", graph.weight(self.words.weight), graph.ids)
        x = _turned(graph, pooling.draw_without_padding(graph, words))
        if read != "states":
            answers = [self._draw(graph, x, layer) for layer in self.convolutions]
            joined = graph.node("Concat", *answers, axis=1) if len(answers) > 1 else answers[0]
            found = graph.activation(joined, self.shape.activation)
            return pooling.draw_max(graph, _turned(graph, found), graph.mask)
        real = graph.node("Unsqueeze", graph.real, graph.whole(1))
        for i, layer in enumerate(self.convolutions):
            found = graph.activation(self._draw(graph, x, layer), self.shape.activation)
            x = graph.node("Mul", graph.node("Add", found, x) if i else found, real)
        return _turned(graph, x)

    @staticmethod
    def _draw(graph: Graph, x: str, layer: nn.Module) -> str:
        assert isinstance(layer, nn.Conv1d)
        assert layer.bias is not None
        weight, bias = graph.weight(layer.weight), graph.weight(layer.bias)
        return graph.node(
            "Conv", x, weight, bias, pads=list(_around(layer)), dilations=list(layer.dilation)
        )

    def config(self) -> dict[str, Any]:
        """The shape, under the model type `feilun-cnn`."""
        return {"model_type": "feilun-cnn", **self.shape._asdict()}

    def groups(self) -> list[list[nn.Parameter]]:
        """The embedding, then the convolutions: together, or where they are on top of each
        other one by one."""
        layers = [list(layer.parameters()) for layer in self.convolutions]
        if self.shape.read != "states":
            layers = [[parameter for layer in layers for parameter in layer]]
        return [list(self.words.parameters()), *layers]

    def macs(self, length: int, read: Read) -> float:
        """Every weight of a convolution once per token."""
        weights = [p.numel() for layer in self.convolutions for p in layer.parameters()]
        return float(length * sum(weights))

    def activations(self, length: int, read: Read) -> float:
        """The embedding (found, masked, turned) and of each convolution what the activation,
        its dropout and the mask keep."""
        wide = 4 * self.width * (self.shape.layers if self.shape.read == "states" else 1)
        return float(length * (3 * self.shape.embedding + wide))


def _around(layer: nn.Conv1d) -> tuple[int, int]:
    """Zeros before and after a text, so that a convolution gives as many tokens as it sees."""
    beyond = (layer.kernel_size[0] - 1) * layer.dilation[0]
    return beyond // 2, beyond - beyond // 2


def _answers(x: Tensor, layer: nn.Module) -> Tensor:
    """The answers of a convolution, `[batch, tokens, filters]`."""
    assert isinstance(layer, nn.Conv1d)
    found: Tensor = layer(F.pad(x.transpose(1, 2), _around(layer)))
    return found.transpose(1, 2)


def _turned(graph: Graph, x: str) -> str:
    """The two last axes changed round."""
    return graph.node("Transpose", x, perm=[0, 2, 1])
