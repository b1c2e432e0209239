"""Whether the answers are as on texts that the model did not learn from."""

from __future__ import annotations

from typing import ClassVar

from feilun.core.i18n import N_
from feilun.stages.monitor import told
from feilun.stages.monitor.detector import Detector, Sample, Signal, Window


class Outputs(Detector):
    """The Jensen-Shannon divergence of the labels answered (for `tag`, of the types of entity;
    for `regress`, the Kolmogorov-Smirnov distance of the values) from the model's own answers to
    the held-out texts."""

    use: ClassVar[str] = "outputs"

    def tests(self, window: Window) -> int:
        sample = window.sample
        labels = told.column(window, "labels", sample.labels)
        return int(bool(labels or told.column(window, "value", _values(sample))))

    def detect(self, window: Window) -> list[Signal]:
        found = told.compared(window, "labels", window.sample.labels)
        template = N_(
            "answers: divergence {value:.4f} bits from those to held-out texts; the threshold is "
            "{threshold:.4f}"
        )
        if found is None:
            found = told.compared(window, "value", _values(window.sample))
            template = N_(
                "values: {value:.3f} away from those of held-out texts (Kolmogorov-Smirnov); the "
                "threshold is {threshold:.3f}"
            )
        return [] if found is None else [told.signal(self.use, "outputs", found, template)]


def _values(sample: Sample) -> list[float]:
    # Labels say that answers are no numbers.
    return [] if sample.labels else [float(one) for one in sample.answers if one is not None]
