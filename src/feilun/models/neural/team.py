"""The processes that share each batch of one training: mostly one, alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from feilun.models.neural.checkpoint import Position

PATIENCE = timedelta(days=7)
"""How long a process waits for the others: a whole validation, by one of them. One that has died
is told by the launcher, at once."""


class Team:
    """A process that trains alone."""

    leads = True
    """Whether this process judges, tells and keeps checkpoints."""

    def begin(self, step: int) -> None:
        """Before the forward pass of `step`."""

    def parts(self, rows: np.ndarray, accumulate: int) -> list[np.ndarray]:
        """What of a batch is this process's, in as many parts as are `accumulate`d; maybe
        none."""
        return np.array_split(rows, min(accumulate, len(rows))) if len(rows) else []

    def total(self, weights: Sequence[Tensor], device: torch.device) -> Tensor:
        """The sum of the weights of the whole batch."""
        return torch.stack(list(weights)).sum()

    def added(
        self, trained: Sequence[torch.nn.Parameter], loss: float, tokens: int
    ) -> tuple[float, int]:
        """Adds all processes' gradients up, in place; returns the sums of the losses and of the
        tokens."""
        return loss, tokens

    def agreed(self, judge: Callable[[], Position]) -> Position:
        """What `judge` says in the process that leads, for all."""
        return judge()


class Crew(Team):
    """One of several processes that train together; they meet in a file and speak over the
    loopback interface.

    Every process holds the whole network and takes every so-many-th row of a batch, so that all
    have texts of like length. A batch's loss is divided by the weight of the whole batch before
    the gradients are added up: the sum is one process's gradient of that batch, to within
    rounding, and the same bits in all of them. Dropout is drawn from the seed, the step and the
    process, so that a training that goes on draws what it would have drawn.
    """

    def __init__(self, rank: int, size: int, seed: int, meeting: Path, backend: str) -> None:
        self.rank, self.size, self.seed = rank, size, seed
        self.leads = rank == 0
        store = dist.FileStore(str(meeting), size)  # type: ignore[attr-defined]  # torch's
        dist.init_process_group(backend, timeout=PATIENCE, world_size=size, rank=rank, store=store)

    def begin(self, step: int) -> None:
        torch.manual_seed(((self.seed & 0xFFFFFFFF) << 31) + step * self.size + self.rank)

    def parts(self, rows: np.ndarray, accumulate: int) -> list[np.ndarray]:
        return super().parts(rows[self.rank :: self.size], accumulate)

    def total(self, weights: Sequence[Tensor], device: torch.device) -> Tensor:
        mine = torch.stack(list(weights)).sum() if weights else torch.zeros((), device=device)
        mine = mine.float()
        dist.all_reduce(mine)
        return mine

    def added(
        self, trained: Sequence[torch.nn.Parameter], loss: float, tokens: int
    ) -> tuple[float, int]:
        device = trained[0].device
        has = [float(p.grad is not None) for p in trained]
        told = torch.tensor([loss, tokens, *has], dtype=torch.float64, device=device)
        dist.all_reduce(told)
        loss, count, *asked = told.tolist()
        # What no process asked for has no gradient, and gets no decay either.
        asked_for = [p for p, times in zip(trained, asked, strict=True) if times]
        flat = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in asked_for]
        )
        dist.all_reduce(flat)
        at = 0
        for parameter in asked_for:
            parameter.grad = flat[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        return loss, int(count)

    def agreed(self, judge: Callable[[], Position]) -> Position:
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        written = judge().model_dump_json().encode() if self.leads else b""
        length = torch.tensor([len(written)], device=device)
        dist.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8, device=device)
        if self.leads:
            content.copy_(torch.tensor(list(written), dtype=torch.uint8))
        dist.broadcast(content, 0)
        return Position.model_validate_json(bytes(content.tolist()))

    def wait(self) -> None:
        """Until all processes are here."""
        dist.barrier()

    def part_company(self) -> None:
        """Ends the group; the last thing each process does."""
        dist.destroy_process_group()


ALONE = Team()
