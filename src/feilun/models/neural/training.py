"""A training for a task under way: epochs, validation, when to stop."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.neural import judging
from feilun.models.neural.batches import Plan, Shelf
from feilun.models.neural.calibrate import NOTHING, Checked
from feilun.models.neural.checkpoint import Checkpoints, Position
from feilun.models.neural.descent import Descent, Part, Place
from feilun.models.neural.network import Network

if TYPE_CHECKING:
    from feilun.models.neural.settings import Neural


class Material(NamedTuple):
    """All that training reads; targets of `regress` are standardised by `mean` and `spread`."""

    settings: Neural
    labels: tuple[str, ...]
    train: Shelf
    validation: Shelf
    mean: float = 0.0
    spread: float = 1.0


class Training(Descent):
    """A training under way; `total` steps at most, fewer when it stops early."""

    def __init__(
        self,
        material: Material,
        network: Network,
        checkpoints: Checkpoints,
        place: Place,
        run: Run,
    ) -> None:
        settings, shelf = material.settings, material.train
        super().__init__(settings, network, checkpoints, place, run, shelf.examples.num)
        self.material, self.paired = material, shelf.paired

    def to_the_end(self, position: Position) -> Checked:
        """Trains from `position` until the last epoch or until patience is out; leaves the best
        epoch's weights in `network`, and returns how they do on validation."""
        position = self.descend(position)
        if position.best_epoch >= 0:
            self.checkpoints.restore_best(self.network, position.best_epoch)
        return self.check()

    def told(self, epoch: int) -> str:
        return _("training, epoch {epoch} of {epochs}").format(epoch=epoch + 1, epochs=self.epochs)

    def batches(self, position: Position) -> Iterator[list[Part]]:
        shelf = self.material.train
        plan = shelf.plan(self.run.seed, position.epoch, self.settings.batch_size)
        for rows in plan.batches[position.batch :]:
            yield self.parts(plan, rows)

    def parts(self, plan: Plan, rows: np.ndarray) -> list[Part]:
        """This process's share of a batch of examples as matrices with their targets, as many as
        are accumulated."""
        shelf, parts = self.material.train, []
        for part in self.team.parts(rows, self.settings.accumulate):
            windows = shelf.chosen(plan, part)
            matrix = shelf.matrix(windows)
            parts.append((matrix, shelf.aimed(windows, part, matrix)))
        return parts

    def judge(self, position: Position) -> Position:
        """The position after validating a whole epoch."""
        checked = self.check()
        after = {"epoch": position.epoch + 1, "batch": 0}
        last = position.epoch + 1 >= self.epochs
        if not self.material.validation.examples.num:
            return position.model_copy(update={**after, "finished": last})
        self.run.log("validation_loss", checked.loss, position.step)
        for name, value in checked.metrics.items():
            self.run.log(f"validation_{name}", value, position.step)
        if checked.loss < position.best_loss:
            self.checkpoints.save_best(self.network, position.epoch)
            best = {"best_epoch": position.epoch, "best_loss": checked.loss, "waited": 0}
            return position.model_copy(update={**after, **best, "finished": last})
        waited = position.waited + 1
        over = last or waited >= self.settings.patience
        return position.model_copy(update={**after, "waited": waited, "finished": over})

    def check(self) -> Checked:
        """How the network does on validation, as its users will see it: windows together,
        probabilities calibrated. With no validation texts, nothing is known."""
        if not self.material.validation.examples.num:
            return NOTHING
        self.network.eval()
        return judging.checked(self.network, self.material, self.place)
