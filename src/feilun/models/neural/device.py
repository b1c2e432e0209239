"""Where a network is trained: the device, its threads, the precision of its products."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from feilun.core.errors import Invalid
from feilun.core.i18n import _

CPU_FLAGS = Path("/proc/cpuinfo")


class PrecisionUnsupported(Invalid):
    """The hardware would only emulate the precision that was asked for."""

    def __init__(self, precision: str, device: str) -> None:
        super().__init__(
            _(
                "precision is {precision} in [train] model, but this {device} has no instructions "
                "for it: training would be slower and less exact."
            ).format(precision=precision, device=device),
            remedy='precision = "auto"',
        )


def pick_device(wish: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`."""
    if wish == "auto":
        wish = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wish)


def pick_precision(wish: str, device: torch.device) -> torch.dtype:
    """The type that products are found in; raises `PrecisionUnsupported`.

    `auto` is bf16 or else fp16 on a GPU that has it, and fp32 on a CPU: there a model is to be
    the same on every machine, and only some have bf16.
    """
    has = {torch.bfloat16: _has_bf16(device), torch.float16: device.type == "cuda"}
    if wish == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if has[torch.bfloat16] else torch.float16
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    kind = kinds[wish]
    if not has.get(kind, True):
        raise PrecisionUnsupported(wish, device.type.upper().replace("CUDA", "GPU"))
    return kind


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        flags = CPU_FLAGS.read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@contextmanager
def steady(threads: int, seed: int, device: torch.device) -> Iterator[None]:
    """Within the block torch is seeded, on `threads` threads and, on the CPU, deterministic;
    afterwards its threads, random state and flags are what they were.

    On a GPU the bytes may differ from run to run: several of its kernels add in no fixed
    order. (No GPU was at hand to measure.)
    """
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    lenient = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    on_cpu = device.type == "cpu"
    with torch.random.fork_rng(devices=[] if on_cpu else [torch.cuda.current_device()]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        if on_cpu:
            torch.use_deterministic_algorithms(True)
            # Writing into memory that is about to be written costs 1 to 2 % of a step.
            memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(strict, warn_only=lenient)
            memory.fill_uninitialized_memory = filled


@contextmanager
def without_memory() -> Iterator[None]:
    """Within the block networks are made without memory for their weights, to be measured."""
    with torch.device("meta"):
        yield
