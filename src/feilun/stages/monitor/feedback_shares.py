"""Whether people say worse of the answers than before."""

from __future__ import annotations

from typing import ClassVar

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor.chance import more_often
from feilun.stages.monitor.detector import Detector, Level, Said, Signal, Window

_FEWEST = 10


class FeedbackShares(Detector):
    """The share of bad ratings (below a half) among the ratings of the window, and of answers that
    were corrected among the answers of the window; a warning where it is larger than under the
    same model before (Fisher's exact test)."""

    use: ClassVar[str] = "feedback_shares"

    def tests(self, window: Window) -> int:
        return sum(_enough(*pair) for pair in _pairs(window).values())

    def detect(self, window: Window) -> list[Signal]:
        signals = []
        for name, (now, before) in _pairs(window).items():
            if not now[1]:
                continue
            compared = bool(_enough(now, before))
            chance = more_often(*now, *before) if compared else 1.0
            share = now[0] / now[1]
            values = {
                "share": share,
                "count": now[1],
                "earlier": before[0] / before[1] if before[1] else 0.0,
            }
            template = _TEMPLATES[name] if compared else _ALONE[name]
            level = Level.WARNING if chance <= window.alpha else Level.OK
            message = Message(template=template, values={**values})
            signals.append(Signal(f"feedback.{name}", share, level, message, detector=self.use))
        return signals


_TEMPLATES = {
    "bad_ratings": N_("bad ratings: {share:.1%} of {count:,}, {earlier:.1%} before"),
    "corrected": N_("corrected: {share:.2%} of {count:,} answers, {earlier:.2%} before"),
}
_ALONE = {
    "bad_ratings": N_("bad ratings: {share:.1%} of {count:,}; nothing before to compare with"),
    "corrected": N_("corrected: {share:.2%} of {count:,} answers; nothing before to compare with"),
}
_Pair = tuple[tuple[int, int], tuple[int, int]]


def _pairs(window: Window) -> dict[str, _Pair]:
    now, before = window.feedback, window.before or Said(0, 0, 0, 0)
    if now is None:
        return {}
    return {
        "bad_ratings": ((now.bad, now.ratings), (before.bad, before.ratings)),
        "corrected": ((now.corrected, now.answers), (before.corrected, before.answers)),
    }


def _enough(now: tuple[int, int], before: tuple[int, int]) -> bool:
    return now[1] >= _FEWEST and before[1] >= _FEWEST
