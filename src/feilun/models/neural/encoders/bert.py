"""BERT's encoder, with a forward pass of our own.

(Devlin et al., NAACL 2019.) Its weights are those of transformers' `BertModel` and are saved
as such. A text is judged by its first token alone, so the last layer works for that token only,
without making the others' keys and values; in the layers below, queries, keys and values are one
product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor, nn

from feilun.models.neural.dropping import dropped
from feilun.models.neural.encoder import Encoder, Layout, Read, masked_mean
from feilun.models.neural.heads import Tokens, Twin
from feilun.models.neural.initial import initialise

if TYPE_CHECKING:
    from feilun.models.neural.graph import Graph
    from feilun.models.neural.heads import Head

EPSILON = 1e-12
"""Of the layer norms; BERT's."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "tanh": torch.tanh,
    "silu": F.silu,
}


class Layer(nn.Module):
    """Attention and feed-forward, each with its residual and norm after it."""

    def __init__(self, width: int, heads: int, activation: str, dropout: float) -> None:
        super().__init__()
        self.width, self.heads, self.dropout = width, heads, dropout
        self.activation = activation
        self.attention = nn.Linear(width, 3 * width)
        self.gathered = nn.Linear(width, width)
        self.attended = nn.LayerNorm(width, eps=EPSILON)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)

    def forward(self, x: Tensor, attend: Tensor | None, first: bool) -> Tensor:
        """States `[batch, tokens, width]`, or with `first` those of the first token only,
        `[batch, 1, width]`; `attend` is the mask of attention, None where all is real."""
        asking = x[:, :1] if first else x
        seen = self._seen_by_first(x, attend) if first else self._seen(x, attend)
        seen = self.attended(asking + self._dropped(self.gathered(seen)))
        inner = self.down(ACTIVATIONS[self.activation](self.up(seen)))
        result: Tensor = self.norm(seen + self._dropped(inner))
        return result

    def _seen(self, x: Tensor, attend: Tensor | None) -> Tensor:
        """What each token attends to, `[batch, tokens, width]`."""
        batch, width = len(x), self.width

        def split(y: Tensor) -> Tensor:
            return y.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)

        query, key, value = map(split, self.attention(x).chunk(3, dim=-1))
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=attend)
        return seen.transpose(1, 2).reshape(batch, -1, width)

    def _seen_by_first(self, x: Tensor, attend: Tensor | None) -> Tensor:
        """What the first token attends to, `[batch, 1, width]`.

        With one query, q · (K x + k) is (Kᵀ q) · x and a constant that softmax takes out, and
        Σ a (V x + v) is V (Σ a x) + v: keys and values of the other tokens are never made.
        """
        width, each = self.width, self.width // self.heads
        weight, bias = self.attention.weight, self.attention.bias
        query = F.linear(x[:, 0], weight[:width], bias[:width]) / each**0.5
        of_keys = weight[width : 2 * width].view(self.heads, each, width)
        of_values = weight[2 * width :].view(self.heads, each, width)
        asked = torch.matmul(query.view(-1, self.heads, each).transpose(0, 1), of_keys)
        match = torch.matmul(asked.transpose(0, 1), x.transpose(1, 2))
        if attend is not None:
            match = match.masked_fill(~attend[:, 0], torch.finfo(match.dtype).min)
        found = torch.matmul(F.softmax(match, dim=-1), x)
        seen = torch.matmul(found.transpose(0, 1), of_values.transpose(1, 2))
        result: Tensor = seen.transpose(0, 1).reshape(-1, 1, width) + bias[2 * width :]
        return result

    def _dropped(self, x: Tensor) -> Tensor:
        return dropped(x, self.dropout, self.training)

    def draw(self, graph: Graph, x: str, first: bool) -> str:
        """The ONNX nodes of `forward`, over rows; with `first` rows of first tokens come out."""
        asking = graph.first(graph.texts(x, self.width)) if first else x
        seen = self._draw_first(graph, x, asking) if first else self._draw_all(graph, x)
        seen = graph.node("Add", asking, graph.linear(seen, self.gathered))
        seen = graph.norm(seen, self.attended)
        inner = graph.activation(graph.linear(seen, self.up), self.activation)
        return graph.norm(graph.node("Add", seen, graph.linear(inner, self.down)), self.norm)

    def _draw_all(self, graph: Graph, x: str) -> str:
        """`_seen`."""
        width = self.width
        query, key, value = graph.split(graph.linear(x, self.attention), [width] * 3)
        scale = graph.number(1 / (width / self.heads) ** 0.5)
        query = graph.node("Mul", self._heads(graph, query, [0, 2, 1, 3]), scale)
        match = graph.node("MatMul", query, self._heads(graph, key, [0, 2, 3, 1]))
        weight = graph.node("Softmax", graph.node("Add", match, graph.bias), axis=-1)
        seen = graph.node("MatMul", weight, self._heads(graph, value, [0, 2, 1, 3]))
        return graph.rows(graph.node("Transpose", seen, perm=[0, 2, 1, 3]), width)

    def _draw_first(self, graph: Graph, x: str, asking: str) -> str:
        """`_seen_by_first`, of whose weights the graph holds the parts it needs."""
        width, each = self.width, self.width // self.heads
        name = graph.named(self.attention.weight)
        found = self.attention.weight.detach().cpu().numpy().reshape(3, self.heads, each, width)
        # Laid out as the product reads them, and the score's scale in the query.
        ask, key = (found[0] / each**0.5).transpose(0, 2, 1), found[1]
        value = np.ascontiguousarray(found[2].transpose(0, 2, 1))
        bias = self.attention.bias.detach().cpu().numpy().reshape(3, self.heads, 1, each)
        query = graph.node("MatMul", asking, graph.constant(f"{name}.query", ask.copy()))
        query = graph.node("Add", query, graph.constant(f"{name}.asked", bias[0] / each**0.5))
        asked = graph.node("MatMul", query, graph.constant(f"{name}.key", key))
        texts = graph.texts(x, width)
        match = graph.node(
            "MatMul",
            graph.node("Transpose", asked, perm=[1, 0, 2]),
            graph.node("Transpose", texts, perm=[0, 2, 1]),
        )
        hidden = graph.node("Squeeze", graph.bias, graph.whole(1))
        weight = graph.node("Softmax", graph.node("Add", match, hidden), axis=-1)
        seen = graph.node("Transpose", graph.node("MatMul", weight, texts), perm=[1, 0, 2])
        seen = graph.node("MatMul", seen, graph.constant(f"{name}.value", value))
        seen = graph.node("Add", seen, graph.constant(f"{name}.seen", bias[2].copy()))
        return graph.rows(graph.node("Transpose", seen, perm=[1, 0, 2]), width)

    def _heads(self, graph: Graph, x: str, order: list[int]) -> str:
        """Rows as `[batch, heads, …]`, in the given order of axes."""
        rest = graph.whole(-1, self.heads, self.width // self.heads)
        shape = graph.node("Concat", graph.batch, rest, axis=0)
        return graph.node("Transpose", graph.node("Reshape", x, shape), perm=order)


class Shape(NamedTuple):
    """What a `Bert` is made of; `max_length` is how many places it has."""

    vocabulary: int
    pad: int
    width: int
    layers: int
    heads: int
    max_length: int
    activation: str = "gelu"
    dropout: float = 0.1
    initializer: str = "normal"


class Bert(Encoder):
    """A BERT encoder with random weights."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, self.dropout = shape.width, shape.dropout
        self.width, self.heads, self.activation = width, shape.heads, shape.activation
        self.words = nn.Embedding(shape.vocabulary, width, padding_idx=shape.pad)
        self.places = nn.Embedding(shape.max_length, width)
        self.kinds = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.layers = nn.ModuleList(
            Layer(width, shape.heads, shape.activation, shape.dropout) for _ in range(shape.layers)
        )
        self.pooler = nn.Linear(width, width)
        initialise(self, shape.initializer)

    def states(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        return self._through(ids, mask, kinds, first=False)

    def pooled(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """The first token's state through BERT's pooler: tanh of one more layer."""
        return torch.tanh(self.pooler(self._through(ids, mask, kinds, first=True)[:, 0]))

    def embedding(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The mean of the states: nothing in a text's vector should hang on one token."""
        return masked_mean(self.states(ids, mask), mask)

    def _through(self, ids: Tensor, mask: Tensor, kinds: Tensor | None, first: bool) -> Tensor:
        places = self.places.weight[: ids.shape[1]]
        if kinds is None:
            x = self.words(ids) + (places + self.kinds.weight[0])
        else:
            x = self.words(ids) + places + self.kinds(kinds)
        x = dropped(self.norm(x), self.dropout, self.training)
        attend = None if bool(mask.all()) else mask[:, None, None, :]
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            x = layer(x, attend, first and i == last)
        assert isinstance(x, Tensor)
        return x

    def draw(self, graph: Graph, read: Read) -> str:
        x = self._draw_words(graph)
        last = len(self.layers) - 1
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            x = layer.draw(graph, x, read == "pooled" and i == last)
        if read == "pooled":
            return graph.node("Tanh", graph.linear(x, self.pooler))
        states = graph.texts(x, self.width)
        return states if read == "states" else graph.mean(states)

    def _draw_words(self, graph: Graph) -> str:
        """Rows `[batch·tokens, width]` after the embeddings' norm."""
        words = graph.node("Gather", graph.weight(self.words.weight), graph.ids)
        zero = graph.whole(0)
        places = graph.node("Slice", graph.weight(self.places.weight), zero, graph.tokens, zero)
        kinds = graph.weight(self.kinds.weight)
        which = graph.kinds or graph.constant("first_kind", np.array(0, dtype=np.int64))
        summed = graph.node(
            "Add", graph.node("Add", words, places), graph.node("Gather", kinds, which)
        )
        return graph.norm(graph.rows(summed, self.width), self.norm)

    def config(self) -> dict[str, Any]:
        """What transformers' `BertConfig` reads."""
        return {
            "model_type": "bert",
            "vocab_size": self.words.num_embeddings,
            "hidden_size": self.width,
            "num_hidden_layers": len(self.layers),
            "num_attention_heads": self.heads,
            "intermediate_size": 4 * self.width,
            "max_position_embeddings": self.places.num_embeddings,
            "type_vocab_size": 2,
            "hidden_act": self.activation,
            "hidden_dropout_prob": self.dropout,
            # Dropping attention weights would keep torch off its fused kernel.
            "attention_probs_dropout_prob": 0.0,
            "layer_norm_eps": EPSILON,
            "pad_token_id": self.words.padding_idx,
            "dtype": "float32",
        }

    def layout(self, head: Head) -> Layout:
        """As transformers' `BertForSequenceClassification`, `BertForTokenClassification` or
        (where the head is of no kind it has) `BertModel`."""
        config = {**self.config(), **head.config()}
        parts = {f"head.{name}": value for name, value in head.state_dict().items()}
        own = self.tensors(pooler=not isinstance(head, Tokens))
        if isinstance(head, Twin):
            return Layout({**config, "architectures": ["BertModel"]}, own, parts)
        kind = "Token" if isinstance(head, Tokens) else "Sequence"
        tensors = {f"bert.{name}": value for name, value in own.items()}
        for part in ("weight", "bias"):
            tensors[f"classifier.{part}"] = parts.pop(f"head.linear.{part}")
        return Layout({**config, "architectures": [f"BertFor{kind}Classification"]}, tensors, parts)

    def tensors(self, pooler: bool = True) -> dict[str, Tensor]:
        """The weights under the names of transformers' `BertModel`."""
        base = "embeddings"
        found: dict[str, Tensor] = {
            f"{base}.word_embeddings.weight": self.words.weight,
            f"{base}.position_embeddings.weight": self.places.weight,
            f"{base}.token_type_embeddings.weight": self.kinds.weight,
        }
        found |= _named(f"{base}.LayerNorm", self.norm)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            name = f"encoder.layer.{i}"
            for part in ("weight", "bias"):
                asked = getattr(layer.attention, part).chunk(3)
                for what, value in zip(("query", "key", "value"), asked, strict=True):
                    found[f"{name}.attention.self.{what}.{part}"] = value
            found |= _named(f"{name}.attention.output.dense", layer.gathered)
            found |= _named(f"{name}.attention.output.LayerNorm", layer.attended)
            found |= _named(f"{name}.intermediate.dense", layer.up)
            found |= _named(f"{name}.output.dense", layer.down)
            found |= _named(f"{name}.output.LayerNorm", layer.norm)
        if pooler:
            found |= _named("pooler.dense", self.pooler)
        return {name: value.detach() for name, value in found.items()}

    def groups(self) -> list[list[nn.Parameter]]:
        below = [self.words, self.places, self.kinds, self.norm]
        return [
            [parameter for part in below for parameter in part.parameters()],
            *(list(layer.parameters()) for layer in self.layers),
            list(self.pooler.parameters()),
        ]

    def macs(self, length: int, read: Read) -> float:
        every = 12 * self.width**2 * length + 2 * self.width * length**2
        if read != "pooled":
            return len(self.layers) * every
        last = 13 * self.width**2 + 2 * self.heads * self.width * length
        return (len(self.layers) - 1) * every + last

    def activations(self, length: int, read: Read) -> float:
        """Of each layer: input, queries, keys, values, what was seen, two sums and their norms,
        and the feed-forward before and after its activation; dropout's masks are bytes."""
        return (4 + 18 * len(self.layers)) * self.width * length


def _named(name: str, layer: nn.Linear | nn.LayerNorm) -> dict[str, Tensor]:
    return {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
