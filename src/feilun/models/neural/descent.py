"""What every training is: steps down a loss, checkpoints between them, figures about them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.neural.checkpoint import Checkpoints, Position, State
from feilun.models.neural.network import Network
from feilun.models.neural.optimizers import optimizer_for, rate_at
from feilun.models.neural.reading import Matrix
from feilun.models.neural.team import ALONE, Team

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural

CHECKPOINT_SECONDS = 30.0
"""At most so long between two checkpoints; what a kill costs."""


class LossNotFinite(FeilunError):
    """The loss, or its gradient, became infinite or not a number."""

    def __init__(self, step: int, rate: float) -> None:
        self.step, self.rate = step, rate
        super().__init__(
            _(
                "Training broke down at step {step}: the loss is no longer a number. The highest "
                "learning rate was {rate:g}; the last good checkpoint is kept."
            ).format(step=step, rate=rate),
            remedy=_("Set a lower learning_rate in [train], for example {rate:g}.").format(
                rate=rate / 10
            ),
        )


class Place(NamedTuple):
    """Where the products of a network are found, and in which precision."""

    device: torch.device
    precision: torch.dtype

    def cast(self) -> torch.autocast:
        """The block in which products are of that precision."""
        off = self.precision == torch.float32
        return torch.autocast(self.device.type, None if off else self.precision, enabled=not off)

    def moved(self, values: np.ndarray) -> Tensor:
        """An array as a tensor there."""
        return torch.from_numpy(values).to(self.device)


Part = tuple[Matrix, np.ndarray]
"""Some of a batch: what is read, and what is aimed at."""


class Descent(ABC):
    """Steps under way; `total` of them at most, `per_epoch` in each pass over the texts."""

    paired = False
    """Whether what is read has two texts."""
    team: Team = ALONE
    """The processes that share each batch."""

    def __init__(
        self,
        settings: Neural,
        network: Network,
        checkpoints: Checkpoints,
        place: Place,
        run: Run,
        num_examples: int,
    ) -> None:
        assert settings.epochs is not None
        assert settings.learning_rate is not None
        self.settings, self.network, self.place = settings, network, place
        self.checkpoints, self.run = checkpoints, run
        self.epochs, self.rate = settings.epochs, settings.learning_rate
        self.optimizer = optimizer_for(settings, network)
        self.scaler = torch.amp.GradScaler(
            place.device.type, enabled=place.precision == torch.float16
        )
        self.trained = list(network.trained().values())
        self.per_epoch = -(-num_examples // settings.batch_size)
        self.total = self.per_epoch * self.epochs
        self.saved_at = self.reported_at = time.monotonic()
        self.tokens = self.unreported = 0
        self.losses: list[float] = []

    @abstractmethod
    def batches(self, position: Position) -> Iterator[list[Part]]:
        """The rest of the epoch from `position` on: each batch in parts."""

    @abstractmethod
    def judge(self, position: Position) -> Position:
        """What follows after a whole epoch."""

    @abstractmethod
    def told(self, epoch: int) -> str:
        """What is going on, for who watches."""

    @property
    def state(self) -> State:
        """What a checkpoint holds."""
        return State(self.network, self.optimizer, self.scaler, self.place.device)

    def descend(self, position: Position) -> Position:
        """Goes on from `position` until it is finished."""
        while not position.finished:
            position = self._epoch(position)
        return position

    def _epoch(self, position: Position) -> Position:
        """The rest of an epoch, then judging it; what follows is in the position returned."""
        shown = self.told(position.epoch)
        self.network.train()
        for parts in self.batches(position):
            self.step(position.step, parts)
            position = position.model_copy(
                update={"batch": position.batch + 1, "step": position.step + 1}
            )
            self.run.progress(position.step, self.total, shown)
            if position.step % max(self.total // 200, 1) == 0:
                self._report(position.step)
            if self.team.leads and time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS:
                self._save(position)
        position = self.team.agreed(partial(self.judge, position))
        self._report(position.step)
        if self.team.leads:
            self._save(position)
            self.checkpoints.forget_all_but(position.best_epoch)
        return position

    def step(self, step: int, parts: list[Part]) -> None:
        """One optimizer step over a batch in parts: matrices with their targets. Raises
        `LossNotFinite` before any weight is touched by it."""
        settings, network, place = self.settings, self.network, self.place
        self.team.begin(step)
        targets = [place.moved(target) for _matrix, target in parts]
        weights = [network.head.weights(target) for target in targets]
        weight = self.team.total(weights, place.device)
        value, tokens = 0.0, 0
        for (matrix, _target), target in zip(parts, targets, strict=True):
            mask = place.moved(matrix.mask.astype(bool))
            kinds = place.moved(matrix.kinds) if self.paired else None
            with place.cast():
                output = network(place.moved(matrix.ids), mask, kinds)
                loss = network.head.loss(output, target, mask) / weight
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
            value += loss.item()
            tokens += int(matrix.mask.sum())
        value, tokens = self.team.added(self.trained, value, tokens)
        self.tokens += tokens
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, settings.clip_norm)
        # With fp16 a gradient may overflow: the scaler skips the step and scales less.
        scaled = self.scaler.is_enabled()
        if not np.isfinite(value) or not (scaled or bool(torch.isfinite(norm))):
            raise LossNotFinite(step, self.rate)
        share = rate_at(step, self.total, settings.warmup, settings.schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * share * group["share"]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.losses.append(value)

    def figures(self) -> dict[str, float]:
        """What is logged of the steps since the last time, by name."""
        return {"loss": sum(self.losses) / len(self.losses)}

    def _report(self, step: int) -> None:
        now = time.monotonic()
        if self.losses:
            for name, value in self.figures().items():
                self.run.log(name, value, step)
            pace = (self.tokens - self.unreported) / max(now - self.reported_at, 1e-9)
            self.run.log("tokens_per_second", pace, step)
        self.losses, self.unreported, self.reported_at = [], self.tokens, now

    def _save(self, position: Position) -> None:
        self.checkpoints.save(self.state, position)
        self.run.spend(self.tokens, "tokens")
        self.tokens = self.unreported = 0
        self.saved_at = time.monotonic()
