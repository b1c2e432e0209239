"""Whether the answers are distributed as the training labels were."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic import Field

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor.detector import Detector, Level, Signal, Window


class LabelShares(Detector):
    """The share of each label among the answers, with its Wilson score interval; a warning
    where it is further from the training share than `tolerance`, beyond chance.

    Interval: Wilson, Probable inference, 1927.
    """

    use: ClassVar[str] = "label_shares"

    tolerance: float = Field(0.1, ge=0, le=1, description="distance from the training share")
    z: float = Field(3.29, gt=0, description="3.29: one false alarm in a thousand looks")

    def detect(self, window: Window) -> list[Signal]:
        answers = window.usage.labels
        total = sum(answers.values())
        signals = []
        for label in sorted({*window.training_shares, *answers}):
            count = answers.get(label, 0)
            low, high = wilson(count, total, self.z)
            expected = window.training_shares.get(label, 0.0)
            moved = low > expected + self.tolerance or high < expected - self.tolerance
            template = N_("'{label}': {share:.1%} of the answers, {expected:.1%} in training")
            share = count / total if total else 0.0
            values = {"label": label, "share": share, "expected": expected}
            signals.append(
                Signal(
                    f"share.{label}",
                    share,
                    Level.WARNING if moved and total else Level.OK,
                    Message(template=template, values=values),
                )
            )
        return signals


def wilson(count: int, total: int, z: float) -> tuple[float, float]:
    """The ends of the Wilson score interval of a share; (0, 1) of nothing."""
    if total == 0:
        return 0.0, 1.0
    share, square = count / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return middle - half, middle + half
