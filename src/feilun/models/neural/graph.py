"""An ONNX graph under construction, written operation by operation from the weights.

torch's exporters need a further package or are deprecated, change with each version, and write
source paths into the file. Such a graph depends on nothing but the weights, so its bytes do too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 20, 9
"""Gelu came with opset 20; IR 9 is what goes with it. ONNX Runtime reads both since 1.18."""
LOWEST = -1e9
"""Added to what must not be attended to."""


class Graph:
    """Nodes and constants; every method adds nodes and returns the name of their output.

    `ids`, `mask` and `kinds` name the inputs, int64 `[batch, tokens]`; `kinds` is None for
    networks that read one text at a time. `batch` and `tokens` name the lengths, as vectors of
    one number, for shapes.
    """

    def __init__(self, network: torch.nn.Module, pairs: bool = False) -> None:
        self.ids, self.mask = "input_ids", "attention_mask"
        self.kinds = "token_type_ids" if pairs else None
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self._names = {
            id(value): name for name, value in network.state_dict(keep_vars=True).items()
        }
        self._once: dict[str, str] = {}

    # Nodes

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operation with one output."""
        return self.several(kind, 1, *inputs, **attributes)[0]

    def several(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """One operation with several outputs."""
        name = f"{kind}_{len(self.nodes)}"
        names = [name if i == 0 else f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name, **attributes))
        return names

    # Constants

    def constant(self, name: str, value: np.ndarray) -> str:
        """A constant under a name of its own; given twice, it is kept once."""
        self.constants.setdefault(name, np.asarray(value, order="C"))
        return name

    def weight(self, value: torch.Tensor) -> str:
        """A parameter or buffer of the network, under its own name there."""
        return self.constant(self.named(value), value.detach().cpu().numpy())

    def named(self, value: torch.Tensor) -> str:
        """The name of a parameter or buffer in the network."""
        return self._names[id(value)]

    def whole(self, *values: int) -> str:
        """A vector of whole numbers, for shapes and positions."""
        name = "int_" + "_".join(str(value).replace("-", "m") for value in values)
        return self.constant(name, np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A single float32."""
        return self.constant(f"float_{value!r}", np.array(value, dtype=np.float32))

    # Lengths and masks

    @property
    def batch(self) -> str:
        """The number of texts."""
        return self._kept("batch", lambda: self.node("Shape", self.ids, start=0, end=1))

    @property
    def tokens(self) -> str:
        """The number of tokens of the longest text."""
        return self._kept("tokens", lambda: self.node("Shape", self.ids, start=1, end=2))

    @property
    def real(self) -> str:
        """The mask as float32 `[batch, tokens]`: 1 for a token, 0 for padding."""
        return self._kept("real", lambda: self.node("Cast", self.mask, to=TensorProto.FLOAT))

    @property
    def bias(self) -> str:
        """What is added to attention's scores, `[batch, 1, 1, tokens]`: 0, or −1e9 at padding."""

        def made() -> str:
            absent = self.node("Sub", self.number(1.0), self.real)
            return self.node(
                "Unsqueeze", self.node("Mul", absent, self.number(LOWEST)), self.whole(1, 2)
            )

        return self._kept("bias", made)

    def _kept(self, what: str, made: Any) -> str:
        if what not in self._once:
            self._once[what] = made()
        return self._once[what]

    # Layers

    def linear(self, x: str, *layers: torch.nn.Linear) -> str:
        """x·Wᵀ + b over rows `[rows, in]`; several layers of the same input become one product,
        their outputs side by side."""
        names = "+".join(self.named(layer.weight).removesuffix(".weight") for layer in layers)
        weight = torch.cat([layer.weight for layer in layers]).detach().cpu().numpy().T
        given: list[torch.Tensor] = [one.bias for one in layers if one.bias is not None]
        inputs = [x, self.constant(f"{names}.weight", weight)]
        if given:
            inputs.append(self.constant(f"{names}.bias", torch.cat(given).detach().cpu().numpy()))
        return self.node("Gemm", *inputs)

    def norm(self, x: str, layer: torch.nn.LayerNorm) -> str:
        """A layer norm over the last axis."""
        weight, bias = self.weight(layer.weight), self.weight(layer.bias)
        return self.node("LayerNormalization", x, weight, bias, axis=-1, epsilon=layer.eps)

    def activation(self, x: str, name: str) -> str:
        """`gelu` (the exact one), `relu`, `tanh` or `silu`."""
        if name == "silu":
            return self.node("Mul", x, self.node("Sigmoid", x))
        return self.node({"gelu": "Gelu", "relu": "Relu", "tanh": "Tanh"}[name], x)

    def rows(self, x: str, width: int) -> str:
        """Anything as rows `[-1, width]`."""
        return self.node("Reshape", x, self.whole(-1, width))

    def texts(self, rows: str, width: int) -> str:
        """Rows `[batch·tokens, width]` as `[batch, tokens, width]`."""
        shape = self.node("Concat", self.batch, self.whole(-1, width), axis=0)
        return self.node("Reshape", rows, shape)

    def split(self, x: str, widths: list[int], axis: int = -1) -> list[str]:
        """`x` in parts of these widths along an axis."""
        return self.several("Split", len(widths), x, self.whole(*widths), axis=axis)

    def first(self, states: str) -> str:
        """Of states `[batch, tokens, width]` those of the first token: `[batch, width]`."""
        zero = self.constant("zero", np.array(0, dtype=np.int64))
        return self.node("Gather", states, zero, axis=1)

    def mean(self, states: str) -> str:
        """The real tokens' mean of states `[batch, tokens, width]`: `[batch, width]`."""
        weight = self.node("Unsqueeze", self.real, self.whole(2))
        total = self.node("ReduceSum", self.node("Mul", states, weight), self.whole(1), keepdims=0)
        count = self.node("ReduceSum", self.real, self.whole(1), keepdims=1)
        return self.node("Div", total, self.node("Max", count, self.number(1.0)))

    # The whole

    def finished(self, output: str, name: str, shape: list[str | int]) -> onnx.ModelProto:
        """The model: its inputs → `name`, which is what `output` names, of this shape."""
        self.nodes.append(helper.make_node("Identity", [output], [name], name))
        axes = ["batch", "tokens"]
        inputs = [self.ids, self.mask, *([self.kinds] if self.kinds else [])]
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(one, TensorProto.INT64, axes) for one in inputs],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(value, key) for key, value in self.constants.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="feilun")
        model.ir_version = IR
        return model
