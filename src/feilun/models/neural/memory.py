"""What training will need of memory, against what is free: told before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from feilun.core.errors import Full
from feilun.core.i18n import _

if TYPE_CHECKING:
    from feilun.models.neural.encoder import Encoder, Read
    from feilun.models.neural.settings import Neural

PROC = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")
KEPT = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2, "rmsprop": 2, "adafactor": 0}
"""Numbers that an optimizer keeps of each weight (adafactor: of each row and column)."""
BYTES = 4
ANYWAY = 200_000_000
"""Taken by torch's own buffers and the texts, about."""
BACKWARD = 1.4
"""The backward pass beside what was kept for it: gradients on their way, and workspaces. (Measured
in whole steps of every network: 0.8 to 1.8 times what was kept.)"""
LOGITS, PATHS = 3, 1.2
"""How often an output is held (itself, its logarithm, its gradient); of a chain of tags how many
numbers per token and pair of them (measured with 101 tags)."""


class NotEnoughMemory(Full):
    """Training would need more memory than is free."""

    def __init__(self, needs: int, has: int, batch_size: int, max_length: int, size: str) -> None:
        super().__init__(
            _(
                "Training would need about {needs:.1f} GB of memory and {has:.1f} GB are free: "
                "size is {size}, batch_size {batch_size} and max_length {max_length} "
                "in [train] model."
            ).format(
                needs=needs / 1e9,
                has=has / 1e9,
                size=size,
                batch_size=batch_size,
                max_length=max_length,
            ),
            remedy=_(
                "Set accumulate = {parts} (the same model in smaller parts), or a smaller "
                "max_length or size, in [train] model."
            ).format(parts=min(batch_size, 8)),
        )


class Need(NamedTuple):
    """Bytes of the weights with all that the optimizer keeps, and of a batch's activations."""

    weights: int
    activations: int

    @property
    def total(self) -> int:
        """All that training takes."""
        return self.weights + self.activations + ANYWAY


def needed(
    settings: Neural,
    encoder: Encoder,
    read: Read,
    length: int,
    texts: int = 1,
    outputs: int = 0,
) -> Need:
    """What training takes whose longest batch has inputs of so many `texts` (1, or 2 read each
    on its own) of `length` tokens, with so many `outputs` of each text (or token)."""
    every = sum(p.numel() for p in encoder.parameters())
    trained = sum(p.numel() for p in encoder.parameters() if p.requires_grad)
    rows = texts * -(-settings.batch_size // settings.accumulate)
    of_head = float(LOGITS * outputs)
    if read == "states":
        chain = PATHS * outputs**2 if settings.crf else 0.0
        of_head = length * (of_head + chain)
    numbers = rows * (BACKWARD * encoder.activations(length, read) + of_head)
    weights = every + trained * (1 + KEPT[settings.optimizer])
    return Need(weights * BYTES, int(numbers * BYTES))


def check(settings: Neural, need: Need, device: torch.device, processes: int = 1) -> None:
    """Raises `NotEnoughMemory` where training, by so many processes, would take more than is
    free on `device`."""
    has = free(device)
    total = shared(need, processes, device)
    if has is not None and total > has:
        raise NotEnoughMemory(
            total, has, settings.batch_size, settings.max_length or 0, settings.size
        )


def shared(need: Need, processes: int, device: torch.device) -> int:
    """Bytes on one device where so many processes share each batch: of GPUs each has its own
    share of it; on a CPU all have theirs, and whoever started them the weights."""
    if processes == 1:
        return need.total
    if device.type == "cuda":
        return Need(need.weights, need.activations // processes).total
    alone = Need(need.weights, 0).total
    return (processes + 1) * alone + need.activations


def free(device: torch.device) -> int | None:
    """Bytes that may still be taken; None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [one for one in (_of_machine(), _of_group()) if one is not None]
    return min(found) if found else None


def _of_machine() -> int | None:
    try:
        lines = PROC.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    kilobytes = found.get("MemAvailable", "").split()
    return int(kilobytes[0]) * 1024 if kilobytes else None


def _of_group() -> int | None:
    """What the control group (a container) leaves: version 2, else version 1."""
    for most, used, stat, name in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "memory/memory.stat",
            "total_inactive_file",
        ),
    ):
        try:
            limit = int((GROUP / most).read_text())
            taken = int((GROUP / used).read_text())
            lines = (GROUP / stat).read_text().splitlines()
        except (OSError, ValueError):  # no such group, or no limit ("max")
            continue
        # The cache of files is given back when it is needed.
        cache = dict(line.split() for line in lines).get(name, "0")
        return limit - taken + int(cache)
    return None
