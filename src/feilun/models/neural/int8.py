"""`model-int8.onnx`: the same network with its matrices in whole numbers of eight bits.

ONNX Runtime's dynamic quantisation of every product with a weight; activations are quantised as
they come. Weights use seven of the eight bits: with all eight, processors without VNNI saturate
sums of two products, so that a model would answer otherwise there than where it was judged.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Lesson
from feilun.models.folder import CARD
from feilun.models.neural.predict import INT8, ONNX, opened

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural
    from feilun.tasks import Answer

FASTER = 1.1
"""By how much a layer's product must be faster to be worth any loss."""
_TOKENS, _RUNS = 128, 7
_SPEED_INPUTS, _SPEED_RUNS = 128, 3


class Figures(NamedTuple):
    """The metric on the validation split and the inputs per second, in both forms."""

    metric: str
    fp32: float
    int8: float
    fp32_per_second: float
    int8_per_second: float


def quantise(source: Path, target: Path) -> None:
    """Writes the network in `source` to `target` in eight bits; the same bytes every time."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises a step that is for networks with convolutions.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"],
        )
    finally:
        logging.disable(logging.NOTSET)


@cache
def pays(width: int) -> bool:
    """Whether eight bits are faster here for layers of that width: measured, some milliseconds."""
    weight = np.random.default_rng(0).normal(size=(width, 4 * width)).astype(np.float32)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [_TOKENS, width])
    found = helper.make_tensor_value_info("y", TensorProto.FLOAT, [_TOKENS, 4 * width])
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "product")
    graph = helper.make_graph(
        [node], "layer", [given], [found], [numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with tempfile.TemporaryDirectory() as name:
        whole, eight = Path(name) / ONNX, Path(name) / INT8
        onnx.save(model, whole)
        quantise(whole, eight)
        sessions = [_session(whole), _session(eight)]
    x = np.random.default_rng(1).normal(size=(_TOKENS, width)).astype(np.float32)

    def asked(session: ort.InferenceSession) -> Callable[[], Any]:
        return lambda: session.run(None, {"x": x})

    fp32, int8 = _fastest([asked(one) for one in sessions], _RUNS)
    return fp32 >= FASTER * int8


def write(settings: Neural, lesson: Lesson, folder: Path, run: Run) -> Figures | None:
    """Adds `model-int8.onnx` to a finished folder if the metric on the validation split loses at
    most `int8_loss` by it, and says so in `feilun.json` and `README.md`; the model is that one
    from then on. None where there is nothing to judge by.

    The decision depends on the answers alone, never on a clock: the same lesson gives the same
    bytes.
    """
    if not len(lesson.validation):
        return None
    inputs = lesson.task.inputs(lesson.validation)
    truth = lesson.task.truth(lesson.validation)
    quantise(folder / ONNX, folder / INT8)
    assert settings.threads is not None
    forms = [opened(folder, settings.threads, name) for name in (ONNX, INT8)]
    answers = [lesson.task.answers(one, inputs) for one in forms]
    some = inputs[:_SPEED_INPUTS]

    def asked(model: Any) -> Callable[[], list[Answer]]:
        return lambda: lesson.task.answers(model, some)

    seconds = _fastest([asked(one) for one in forms], _SPEED_RUNS)
    metric = lesson.task.metrics[0]
    written = [[one.written for one in each] for each in answers]
    values = [
        lesson.task.evaluate(truth, each, lesson.labels, seed=run.seed).metrics[metric].value
        for each in written
    ]
    gain = lesson.task.gain(
        truth, written[1], written[0], metric=metric, against="fp32", seed=run.seed
    )
    scale = float(np.std([float(t) for t in truth])) if lesson.task.use == "regress" else 1.0
    holds = -gain.delta <= settings.int8_loss * scale
    found = Figures(metric, *values, *(len(some) / max(one, 1e-9) for one in seconds))
    if not holds:
        (folder / INT8).unlink()
    _tell(found, holds, folder, run)
    return found


def _tell(found: Figures, holds: bool, folder: Path, run: Run) -> None:
    """Everything but the speeds goes into the folder: its bytes must not depend on a clock."""
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    accuracy = {"fp32": found.fp32, "int8": found.int8, "metric": found.metric}
    card["int8"] = {**accuracy, "chosen": holds}
    text = json.dumps(card, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")
    with (folder / "README.md").open("a", encoding="utf-8", newline="\n") as target:
        target.write(_README.format(**accuracy, file=INT8 if holds else ONNX))
    for name in ("fp32", "int8"):
        run.log(f"{name}.{found.metric}", getattr(found, name))
        run.log(f"{name}.inputs_per_second", getattr(found, f"{name}_per_second"))
    template = (
        _("Eight bits are kept: {metric} {int8:.4f} (fp32: {fp32:.4f}), {ratio:.2f} times as fast.")
        if holds
        else _(
            "Eight bits are not kept: {metric} {int8:.4f} (fp32: {fp32:.4f}), {ratio:.2f} times "
            "as fast."
        )
    )
    run.say(
        template.format(
            metric=found.metric,
            int8=found.int8,
            fp32=found.fp32,
            ratio=found.int8_per_second / found.fp32_per_second,
        )
    )


def _fastest(works: list[Callable[[], Any]], runs: int) -> list[float]:
    """The least seconds of each, asked in turn, after one turn that does not count."""
    least = [float("inf")] * len(works)
    for number in range(runs + 1):
        for at, work in enumerate(works):
            started = time.perf_counter()
            work()
            if number:
                least[at] = min(least[at], time.perf_counter() - started)
    return least


def _session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


_README = """
## In eight bits / 八位整数

`{metric}` on the validation split: {fp32:.4f} as `model.onnx`, {int8:.4f} in eight bits. Feilun
serves `{file}`. 飞轮提供服务时使用 `{file}`。
"""
