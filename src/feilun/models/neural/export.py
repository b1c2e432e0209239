"""The finished folder: the network's weights, and `model.onnx` beside them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from safetensors.torch import save_file

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.models.neural.graph import Graph
from feilun.models.neural.network import Network
from feilun.models.neural.predict import BESIDE, ONNX, OUTPUT
from feilun.models.neural.reading import Matrix

TOLERANCE = 1e-4
"""How much outputs may differ, as a share of the largest where that is above 1."""


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


def write(network: Network, folder: Path, pairs: bool) -> None:
    """Writes `config.json`, `model.safetensors`, `model.onnx` and, where the layout has no place
    for all of the head, `feilun-head.safetensors` into `folder`. `pairs`: two texts are read
    together. The network is on the CPU and in evaluation mode afterwards."""
    network.to(torch.device("cpu")).eval()
    layout = network.encoder.layout(network.head)
    text = json.dumps(layout.config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "config.json").write_text(text, encoding="utf-8", newline="\n")
    for name, tensors in (("model.safetensors", layout.tensors), (BESIDE, layout.beside)):
        if tensors:
            whole = {key: value.detach().contiguous() for key, value in tensors.items()}
            save_file(whole, folder / name, metadata={"format": "pt"})
    graph = Graph(network, pairs)
    found = network.head.draw(graph, network.encoder.draw(graph, network.head.read))
    model = graph.finished(found, OUTPUT, _shape(network))
    onnx.checker.check_model(model)
    (folder / ONNX).write_bytes(model.SerializeToString(deterministic=True))


def _shape(network: Network) -> list[str | int]:
    if network.twin:
        return ["batch", network.encoder.width]
    outputs = network.head.linear.out_features
    return ["batch", "tokens", outputs] if network.head.read == "states" else ["batch", outputs]


def check(network: Network, folder: Path, matrix: Matrix, pairs: bool) -> float:
    """The largest difference between `model.onnx` and the network on a batch; raises
    `ExportDiffers` above 1e-4."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / ONNX), options, providers=["CPUExecutionProvider"])
    given = {"input_ids": matrix.ids, "attention_mask": matrix.mask}
    if pairs:
        given["token_type_ids"] = matrix.kinds
    found = np.asarray(session.run([OUTPUT], given)[0])
    ids, mask = torch.from_numpy(matrix.ids), torch.from_numpy(matrix.mask.astype(bool))
    kinds = torch.from_numpy(matrix.kinds) if pairs else None
    with torch.no_grad():
        read = network.read(ids, mask, kinds)
        wanted = (read if network.twin else network.head(read)).float().numpy()
    apart = np.abs(found - wanted)
    if network.head.read == "states":
        apart = apart[matrix.mask.astype(bool)]
    difference = float(apart.max() / max(1.0, float(np.abs(wanted).max())))
    if not difference < TOLERANCE:
        raise ExportDiffers(difference)
    return difference
