"""Texts that are unlike everything the model was trained on."""

from __future__ import annotations

from typing import ClassVar

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor.chance import at_least
from feilun.stages.monitor.detector import Detector, Level, Signal, Window
from feilun.stages.monitor.label_shares import wilson
from feilun.stages.monitor.null import FEWEST

_Z = 2.33
"""The upper end of what the held-out share may be, 99 in 100: of 1,500 held-out texts 15 are
unknown, and where it is 25 of the next 1,500, every look would warn."""


class Unknown(Detector):
    """The share of texts whose n-grams are rarer in training than those of nearly every held-out
    text (`monitor.unknown_rate`), or whose language hardly occurs in training; a warning where it
    is larger than that of the held-out texts can be (a binomial test against the upper end of its
    Wilson score interval)."""

    use: ClassVar[str] = "unknown"

    def tests(self, window: Window) -> int:
        return int(_tested(window))

    def detect(self, window: Window) -> list[Signal]:
        reference, sample = window.reference, window.sample
        if reference is None or not _tested(window):
            return []
        total = len(sample.texts)
        hits = int(reference.unknown_texts(sample.texts, sample.languages).sum())
        before = reference.unknown, reference.unknown_of
        first = _first_loud(total, wilson(*before, _Z)[1], window.alpha)
        template = N_(
            "unlike anything in training: {value:.1%} of the texts, {expected:.1%} of held-out "
            "ones; the threshold is {threshold:.1%}"
        )
        values = {
            "value": hits / total,
            "expected": before[0] / before[1],
            "threshold": first / total,
        }
        level = Level.WARNING if hits >= first else Level.OK
        message = Message(template=template, values={**values})
        return [Signal("unknown.share", hits / total, level, message, first / total, self.use)]


def _tested(window: Window) -> bool:
    reference = window.reference
    return (
        reference is not None
        and reference.unknown_of >= FEWEST
        and len(window.sample.texts) >= FEWEST
    )


def _first_loud(total: int, share: float, alpha: float) -> int:
    """The least number of hits that chance alone gives with at most `alpha`; one more than
    `total` where none does."""
    low, high = 0, total + 1
    while low < high:
        middle = (low + high) // 2
        if at_least(middle, total, share) <= alpha:
            high = middle
        else:
            low = middle + 1
    return low
