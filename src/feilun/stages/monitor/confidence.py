"""Whether the model is as sure as on texts that it did not learn from."""

from __future__ import annotations

from typing import ClassVar

from feilun.core.i18n import N_
from feilun.stages.monitor import told
from feilun.stages.monitor.detector import Detector, Sample, Signal, Window


class Confidence(Detector):
    """The Kolmogorov-Smirnov distance of the answers' scores from those on the held-out texts.
    `regress` has no scores that differ, and no signal."""

    use: ClassVar[str] = "confidence"

    def tests(self, window: Window) -> int:
        return int(told.column(window, "scores", _scores(window.sample)) is not None)

    def detect(self, window: Window) -> list[Signal]:
        scores = _scores(window.sample)
        found = told.compared(window, "scores", scores)
        if found is None:
            return []
        template = N_(
            "confidence: {mean:.3f} on average, {value:.3f} away from held-out texts "
            "(Kolmogorov-Smirnov); the threshold is {threshold:.3f}"
        )
        mean = sum(scores) / len(scores)
        return [told.signal(self.use, "confidence", found, template, mean=mean)]


def _scores(sample: Sample) -> list[float]:
    pairs = zip(sample.answers, sample.scores, strict=True)
    return [score for answer, score in pairs if answer is not None]
