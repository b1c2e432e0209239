"""What is told of a training's memory, against what a step really takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from feilun.models.neural import memory
from feilun.models.neural.memory import ANYWAY, Need
from feilun.models.transformer import Transformer

ROOT = Path(__file__).parents[4]


CASES: list[tuple[str, str, int, int, dict[str, Any]]] = [
    ("transformer", "pooled", 64, 5, {}),
    ("transformer", "states", 128, 5, {}),
    ("transformer", "states", 64, 101, {"crf": True}),
    ("transformer", "states", 64, 1001, {}),
    ("cnn", "pooled", 192, 5, {}),
    ("cnn", "states", 64, 5, {}),
    ("lstm", "pooled", 64, 5, {}),
    ("lstm", "states", 128, 5, {}),
    ("mlp", "pooled", 256, 5, {}),
    ("mlp", "states", 128, 5, {}),
]
"""Family, what is read of it, rows, outputs, settings."""
HUB: list[tuple[str, str, int, int, dict[str, Any]]] = [("hub", "pooled", 32, 5, {})]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("cases", [CASES, HUB], ids=["ours", "hub"])
def test_a_real_step_takes_about_what_was_told(
    cases: list[tuple[str, str, int, int, dict[str, Any]]], tmp_path: Path
) -> None:
    script = Path(__file__).parent / "step_memory.py"
    done = subprocess.run(
        [sys.executable, str(script), json.dumps(cases), str(tmp_path)],
        stdout=subprocess.PIPE, text=True, check=True, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = [[int(one) for one in line.split()] for line in done.stdout.splitlines()]
    off = [
        (case, grew, told)
        for case, (grew, told) in zip(cases, found, strict=True)
        # With less, the noise of the allocator is what is measured.
        if not (grew > 40e6 and 0.5 * grew < told < 2.5 * grew)
    ]
    assert off == []


def test_outputs_count_by_token_and_a_chain_by_pairs_of_them() -> None:
    settings = Transformer(size="nano", batch_size=8, crf=False).resolved(10)
    sketch = settings.sketch(100, 0)
    chained = settings.model_copy(update={"crf": True})
    few, many = (memory.needed(settings, sketch, "states", 16, 1, n).activations for n in (1, 11))
    assert many - few == pytest.approx(8 * 16 * 10 * 3 * 4, abs=1)
    chain = memory.needed(chained, sketch, "states", 16, 1, 11).activations - many
    assert chain == pytest.approx(8 * 16 * 11**2 * 1.2 * 4, abs=1)
    once = memory.needed(settings, sketch, "pooled", 16, 1, 11).activations
    assert once - memory.needed(settings, sketch, "pooled", 16).activations == 8 * 11 * 3 * 4


def test_processes_share_what_they_can() -> None:
    need, cpu, gpu = Need(10, 100), torch.device("cpu"), torch.device("cuda")
    assert memory.shared(need, 1, cpu) == 110 + ANYWAY
    assert memory.shared(need, 4, cpu) == 5 * (10 + ANYWAY) + 100
    assert memory.shared(need, 4, gpu) == 10 + 25 + ANYWAY
