"""Whether the texts are like those that the model was trained on."""

from __future__ import annotations

from typing import ClassVar

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor import told
from feilun.stages.monitor.detector import Detector, Level, Signal, Window
from feilun.stages.monitor.null import FEWEST


class Inputs(Detector):
    """The squared maximum mean discrepancy (Gretton et al., 2012) between the window's texts and
    training texts, over their hashed n-grams; and how many texts could be read for it."""

    use: ClassVar[str] = "inputs"

    def tests(self, window: Window) -> int:
        return int(told.column(window, "inputs", window.sample.texts) is not None)

    def detect(self, window: Window) -> list[Signal]:
        sample = window.sample
        if window.reference is None or not sample.drawn:
            return []
        read = Signal(
            "inputs.read",
            float(len(sample.texts)),
            Level.OK,
            Message(
                template=N_(
                    "different texts compared: {count:,}; not readable: {unreadable:,}; a test "
                    "needs {fewest}"
                ),
                values={
                    "count": len(sample.texts),
                    "unreadable": sample.unreadable,
                    "fewest": FEWEST,
                },
            ),
            detector=self.use,
        )
        found = told.compared(window, "inputs", sample.texts)
        if found is None:
            return [read]
        template = N_(
            "texts: {value:.4f} away from training texts (MMD²); the threshold is {threshold:.4f}"
        )
        return [read, told.signal(self.use, "inputs.distance", found, template)]
