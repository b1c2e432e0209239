"""Monitor: what happened in the last hours → signals."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SerializeAsAny

from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.monitor.detector import Detector, Signal, Window
from feilun.stages.monitor.label_shares import LabelShares
from feilun.stages.monitor.traffic import Traffic


class Monitor(Stage[Window, list[Signal]]):
    """Every detector's signals over one window."""

    use: ClassVar[str] = "monitor"

    window_hours: float = Field(24.0, gt=0, description="how far back")
    detectors: tuple[SerializeAsAny[Detector], ...] = Field(
        (Traffic(), LabelShares()), description="what is looked for"
    )

    def inputs(self, given: Window, root: Path) -> dict[str, str]:
        """Nothing: signals are of the moment and never reused."""
        return {}

    def run(self, given: Window, run: Run) -> list[Signal]:
        """The signals, in the order of the detectors."""
        return [signal for detector in self.detectors for signal in detector.detect(given)]
