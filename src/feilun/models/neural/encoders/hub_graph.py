"""The ONNX nodes of a transformers model.

BERT and its kin are drawn from their weights, node by node, in a tenth of a second. Everything
else goes through torch's exporter (some ten seconds), whose nodes are copied without the names
of files and lines that it leaves on them.
"""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, cast

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from feilun.models.neural.adapter import Adapter
from feilun.models.neural.graph import OPSET

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from feilun.models.neural.graph import Graph

DRAWN = {"bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie"}
ACTIVATIONS = {"gelu", "relu"}


def states(graph: Graph, body: PreTrainedModel, kinds: bool) -> str:
    """The nodes from ids to `[batch, tokens, width]`; `kinds`: whether `body` takes type ids."""
    config = body.config
    plain = config.model_type in DRAWN and config.hidden_act in ACTIVATIONS
    odd = getattr(config, "use_task_id", False) or getattr(config, "is_decoder", False)
    relative = getattr(config, "position_embedding_type", "absolute") != "absolute"
    if plain and not odd and not relative:
        return _Bert(graph, body, kinds).states()
    return _exported(graph, body, kinds)


def last(graph: Graph, found: str) -> str:
    """Of states `[batch, tokens, width]` those of each text's last real token."""
    one = graph.whole(1)
    count = graph.node("ReduceSum", graph.mask, one, keepdims=1)
    return graph.node("GatherND", found, graph.node("Sub", count, one), batch_dims=1)


class _Bert:
    """A drawing of BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA or ERNIE."""

    def __init__(self, graph: Graph, body: PreTrainedModel, kinds: bool) -> None:
        # transformers' modules are duck-typed here: their attributes are the same in all six.
        self.graph, self.body, self.kinds = graph, cast(Any, body), kinds
        self.width = int(body.config.hidden_size)
        self.heads = int(body.config.num_attention_heads)

    def states(self) -> str:
        """Everything from the ids up."""
        x = self.embeddings()
        for layer in self.body.encoder.layer:
            x = self.layer(x, layer)
        return self.graph.texts(x, self.width)

    def embeddings(self) -> str:
        """Rows `[batch·tokens, width]` after the embeddings' norm."""
        graph, own = self.graph, self.body.embeddings
        narrow = int(own.word_embeddings.weight.shape[1])
        words = graph.node("Gather", graph.weight(own.word_embeddings.weight), graph.ids)
        first = own.position_embeddings.padding_idx
        first = 0 if first is None else first + 1
        places = own.position_embeddings.weight.detach().cpu().numpy()[first:]
        types = own.token_type_embeddings.weight
        if self.kinds and graph.kinds and len(types) > 1:
            told = graph.node("Gather", graph.weight(types), graph.kinds)
            words = graph.node("Add", words, told)
        else:
            places = places + types.detach().cpu().numpy()[0]
        zero = graph.whole(0)
        near = graph.node("Slice", graph.constant("places", places), zero, graph.tokens, zero)
        rows = graph.rows(graph.node("Add", words, near), narrow)
        rows = graph.norm(rows, own.LayerNorm)
        projected = getattr(self.body, "embeddings_project", None)
        return rows if projected is None else graph.linear(rows, projected)

    def layer(self, x: str, layer: Any) -> str:
        """One layer over rows."""
        graph, config = self.graph, self.body.config
        attention = layer.attention
        asked = attention.self
        both = graph.linear(x, asked.query, asked.key, asked.value)
        parts = graph.split(both, [self.width] * 3)
        query = self.split(parts[0], [0, 2, 1, 3])
        key = self.split(parts[1], [0, 2, 3, 1])
        value = self.split(parts[2], [0, 2, 1, 3])
        scale = graph.number(float((self.width // self.heads) ** -0.5))
        match = graph.node("MatMul", graph.node("Mul", query, scale), key)
        weight = graph.node("Softmax", graph.node("Add", match, graph.bias), axis=-1)
        seen = graph.node("Transpose", graph.node("MatMul", weight, value), perm=[0, 2, 1, 3])
        seen = self.linear(graph.rows(seen, self.width), attention.output.dense)
        seen = graph.norm(graph.node("Add", x, seen), attention.output.LayerNorm)
        inner = self.linear(seen, layer.intermediate.dense)
        inner = self.linear(graph.activation(inner, config.hidden_act), layer.output.dense)
        return graph.norm(graph.node("Add", seen, inner), layer.output.LayerNorm)

    def linear(self, x: str, layer: torch.nn.Module) -> str:
        """A linear layer, with the adapter behind it where there is one."""
        graph = self.graph
        if not isinstance(layer, Adapter):
            return graph.linear(x, cast(torch.nn.Linear, layer))
        y = graph.linear(x, layer.linear)
        low = graph.activation(graph.linear(y, layer.down), "gelu")
        return graph.node("Add", y, graph.linear(low, layer.up))

    def split(self, x: str, order: list[int]) -> str:
        """Rows as `[batch, tokens, heads, …]`, in the given order of axes."""
        graph = self.graph
        per_head = self.width // self.heads
        shape = graph.node("Concat", graph.batch, graph.whole(-1, self.heads, per_head), axis=0)
        return graph.node("Transpose", graph.node("Reshape", x, shape), perm=order)


class _States(torch.nn.Module):
    """What is exported: ids and mask (and types) to states."""

    def __init__(self, body: PreTrainedModel) -> None:
        super().__init__()
        self.body = body

    def forward(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        given = {} if kinds is None else {"token_type_ids": kinds}
        found: Tensor = self.body(input_ids=ids, attention_mask=mask, **given).last_hidden_state
        return found


def _exported(graph: Graph, body: PreTrainedModel, kinds: bool) -> str:
    model = _through_torch(body, bool(kinds and graph.kinds))
    names = {"": "", "ids": graph.ids, "mask": graph.mask, "kinds": graph.kinds or ""}
    for value in model.graph.initializer:
        names[value.name] = graph.constant(f"body.{value.name}", numpy_helper.to_array(value))
    for node in model.graph.node:
        _copy(graph, node, names)
    return names[model.graph.output[0].name]


def _copy(graph: Graph, node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Adds a node under names of its own, without what the exporter noted on it."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    made.ClearField("metadata_props")
    made.ClearField("doc_string")
    made.name = f"body.{len(graph.nodes)}"
    for output in node.output:
        names.setdefault(output, f"body.{output}" if output else "")
    del made.input[:], made.output[:]
    made.input.extend(names[name] for name in node.input)
    made.output.extend(names[name] for name in node.output)
    graph.nodes.append(made)


def _through_torch(body: PreTrainedModel, kinds: bool) -> onnx.ModelProto:
    ids = torch.ones(2, 7, dtype=torch.int64)
    mask = torch.ones(2, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    most = getattr(body.config, "max_position_embeddings", None)
    batch = torch.export.Dim("batch", min=1)
    tokens = torch.export.Dim("tokens", min=1, max=most)
    given = (ids, mask, torch.zeros_like(ids)) if kinds else (ids, mask)
    inputs = ["ids", "mask", "kinds"][: len(given)]
    noisy = logging.getLogger("torch.onnx._internal.exporter._registration")
    before, noisy.disabled = noisy.disabled, True
    strict = torch.are_deterministic_algorithms_enabled()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the exporter's own use of what is deprecated
            program = torch.onnx.export(
                _States(body).train(False),
                given,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                external_data=False,
                input_names=inputs,
                output_names=["states"],
                dynamic_shapes={name: {0: batch, 1: tokens} for name in inputs},
            )
    finally:
        noisy.disabled = before
        torch.use_deterministic_algorithms(strict)
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model
