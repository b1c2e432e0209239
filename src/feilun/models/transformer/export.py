"""The finished folder: the Hugging Face layout, and `model.onnx` beside it.

The graph is written out here, operation by operation, from the weights: torch's exporters
need a further package or are deprecated, change with each version, and write source paths
into the file. This graph depends on nothing but the weights, so its bytes do too; and like
`engine.py` it asks the last layer for the first token only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import TensorProto, helper, numpy_helper

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.models.transformer.engine import EPSILON, Network
from feilun.models.transformer.predict import ONNX

OPSET, IR = 20, 9
"""Gelu came with opset 20; IR 9 is what goes with it. ONNX Runtime reads both since 1.18."""
TOLERANCE = 1e-4


class ExportDiffers(FeilunError):
    """`model.onnx` does not answer as the trained network does."""

    def __init__(self, difference: float) -> None:
        super().__init__(
            _(
                "model.onnx differs from the trained network by {difference:.1e}; "
                "at most {limit:.0e} is allowed."
            ).format(difference=difference, limit=TOLERANCE),
            remedy=_(
                "Nothing was released; please report this with the versions of both."
            ).format(),
        )


class _Graph:
    """An ONNX graph under construction; every method adds nodes and returns the output's name."""

    def __init__(self, network: Network) -> None:
        self.size = network.size
        self.weights = {k: v.detach().cpu().numpy() for k, v in network.parameters.items()}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One operation with one output."""
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        """A weight or another constant, once."""
        self.constants.setdefault(name, np.asarray(value, order="C"))
        return name

    def weight(self, name: str) -> str:
        """A weight of the network, under its own name."""
        return self.constant(name, self.weights[name])

    def whole(self, *values: int) -> str:
        """A vector of whole numbers, for shapes and positions."""
        name = "int_" + "_".join(str(value).replace("-", "m") for value in values)
        return self.constant(name, np.array(values, dtype=np.int64))

    def linear(self, x: str, *names: str) -> str:
        """x·Wᵀ + b over rows; several layers of the same input become one product."""
        joined = "+".join(names)
        weight = np.concatenate([self.weights[f"{n}.weight"] for n in names]).T
        bias = np.concatenate([self.weights[f"{n}.bias"] for n in names])
        return self.node(
            "Gemm",
            x,
            self.constant(f"{joined}.weight", weight),
            self.constant(f"{joined}.bias", bias),
        )

    def norm(self, x: str, name: str) -> str:
        """A layer norm over the last axis."""
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, weight, bias, axis=-1, epsilon=EPSILON)

    def heads(self, x: str, batch: str, order: list[int]) -> str:
        """Rows `[batch·tokens, width]` as `[batch, heads, …]`, in the given order of axes."""
        per_head = self.size.width // self.size.heads
        shape = self.node("Concat", batch, self.whole(-1, self.size.heads, per_head), axis=0)
        return self.node("Transpose", self.node("Reshape", x, shape), perm=order)

    def embeddings(self) -> str:
        """Rows `[batch·tokens, width]` after the embeddings' norm."""
        base = "bert.embeddings"
        words = self.node("Gather", self.weight(f"{base}.word_embeddings.weight"), "input_ids")
        kinds = self.weights[f"{base}.token_type_embeddings.weight"][0]
        places = self.constant("places", self.weights[f"{base}.position_embeddings.weight"] + kinds)
        tokens = self.node("Shape", "input_ids", start=1, end=2)
        places = self.node("Slice", places, self.whole(0), tokens, self.whole(0))
        summed = self.node("Reshape", self.node("Add", words, places), self.rows())
        return self.norm(summed, f"{base}.LayerNorm")

    def rows(self) -> str:
        """The shape that makes rows of everything."""
        return self.whole(-1, self.size.width)

    def first(self, x: str, batch: str) -> str:
        """Of rows `[batch·tokens, width]`, the first token's of each text: `[batch, width]`."""
        shape = self.node("Concat", batch, self.whole(-1, self.size.width), axis=0)
        zero = self.constant("zero", np.array(0, dtype=np.int64))
        return self.node("Gather", self.node("Reshape", x, shape), zero, axis=1)

    def layer(self, x: str, i: int, batch: str, bias: str) -> str:
        """One encoder layer; the last answers for the first token of each text only."""
        name = f"bert.encoder.layer.{i}"
        q, k, v = (f"{name}.attention.self.{part}" for part in ("query", "key", "value"))
        width = self.size.width
        if i < self.size.layers - 1:
            asking, both = x, self.linear(x, q, k, v)
            parts = self.split(both, [width] * 3)
        else:
            asking, both = self.first(x, batch), self.linear(x, k, v)
            parts = [self.linear(asking, q), *self.split(both, [width] * 2)]
        query = self.heads(parts[0], batch, [0, 2, 1, 3])
        key = self.heads(parts[1], batch, [0, 2, 3, 1])
        value = self.heads(parts[2], batch, [0, 2, 1, 3])
        scale = np.array(1 / np.sqrt(width / self.size.heads), dtype=np.float32)
        match = self.node("MatMul", self.node("Mul", query, self.constant("scale", scale)), key)
        weight = self.node("Softmax", self.node("Add", match, bias), axis=-1)
        seen = self.node("Transpose", self.node("MatMul", weight, value), perm=[0, 2, 1, 3])
        seen = self.linear(
            self.node("Reshape", seen, self.rows()), f"{name}.attention.output.dense"
        )
        seen = self.norm(self.node("Add", asking, seen), f"{name}.attention.output.LayerNorm")
        inner = self.node("Gelu", self.linear(seen, f"{name}.intermediate.dense"))
        inner = self.linear(inner, f"{name}.output.dense")
        return self.norm(self.node("Add", seen, inner), f"{name}.output.LayerNorm")

    def split(self, x: str, widths: list[int]) -> list[str]:
        """The columns of `x` in parts of these widths."""
        names = [f"Split_{len(self.nodes)}_{i}" for i in range(len(widths))]
        self.nodes.append(
            helper.make_node("Split", [x, self.whole(*widths)], names, names[0], axis=1)
        )
        return names

    def finished(self) -> onnx.ModelProto:
        """The whole model: `input_ids`, `attention_mask` → `logits`."""
        batch = self.node("Shape", "input_ids", start=0, end=1)
        absent = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        one = self.constant("one", np.array(1, dtype=np.float32))
        lowest = self.constant("lowest", np.array(-1e9, dtype=np.float32))
        bias = self.node("Mul", self.node("Sub", one, absent), lowest)
        bias = self.node("Unsqueeze", bias, self.whole(1, 2))
        x = self.embeddings()
        for i in range(self.size.layers):
            x = self.layer(x, i, batch, bias)
        pooled = self.node("Tanh", self.linear(x, "bert.pooler.dense"))
        logits = self.linear(pooled, "classifier")
        self.nodes.append(helper.make_node("Identity", [logits], ["logits"], "logits"))
        num_labels = len(self.weights["classifier.bias"])
        axes = ["batch", "tokens"]
        graph = helper.make_graph(
            self.nodes,
            "classifier",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, axes)
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", num_labels])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, producer_name="feilun")
        model.ir_version = IR
        return model


def fold_temperature(network: Network, temperature: float) -> None:
    """Divides the logits by `temperature` for good: in the classifier's own weights, so that
    whoever opens the model, in whatever format, gets calibrated probabilities."""
    with torch.no_grad():
        network.parameters["classifier.weight"].div_(temperature)
        network.parameters["classifier.bias"].div_(temperature)


def write(network: Network, folder: Path) -> None:
    """Writes `config.json`, `model.safetensors` and `model.onnx` into `folder`."""
    network.to(torch.device("cpu")).model.train(False).save_pretrained(folder)
    model = _Graph(network).finished()
    onnx.checker.check_model(model)
    (folder / ONNX).write_bytes(model.SerializeToString(deterministic=True))


def check(network: Network, folder: Path, ids: np.ndarray, mask: np.ndarray) -> float:
    """The largest difference between `model.onnx` and transformers' own forward pass on a
    batch; raises `ExportDiffers` above 1e-4."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / ONNX), options, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]
    with torch.no_grad():
        wanted = network.model(
            input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
        ).logits.numpy()
    difference = float(np.abs(np.asarray(found) - wanted).max())
    if not difference < TOLERANCE:
        raise ExportDiffers(difference)
    return difference
