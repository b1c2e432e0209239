"""Monitor: what happened in the last hours → signals."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SerializeAsAny

from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.monitor.alerting import Alerting
from feilun.stages.monitor.budget import Budget
from feilun.stages.monitor.columns import Columns
from feilun.stages.monitor.confidence import Confidence
from feilun.stages.monitor.detector import Detector, Signal, Window
from feilun.stages.monitor.feedback_shares import FeedbackShares
from feilun.stages.monitor.inputs import Inputs
from feilun.stages.monitor.label_shares import LabelShares
from feilun.stages.monitor.label_shift import LabelShift
from feilun.stages.monitor.outputs import Outputs
from feilun.stages.monitor.traffic import Traffic
from feilun.stages.monitor.unknown import Unknown


class Monitor(Stage[Window, list[Signal]]):
    """Every detector's signals over one window."""

    use: ClassVar[str] = "monitor"

    window_hours: float = Field(24.0, gt=0, description="how far back")
    false_alarms_per_look: float = Field(
        0.01, gt=0, lt=1, description="chance that any test warns while nothing has changed"
    )
    sample: int = Field(
        2000, ge=30, le=20_000, description="predictions of the window that tests look at, most"
    )
    reference_texts: int = Field(
        5000, ge=30, le=50_000, description="training texts they are compared with, most"
    )
    held_out_texts: int = Field(
        2000, ge=30, le=20_000, description="validation and test texts that are answered, most"
    )
    unknown_rate: float = Field(
        0.01, gt=0, lt=0.5, description="share of held-out texts that count as unknown"
    )
    detectors: tuple[SerializeAsAny[Detector], ...] = Field(
        (
            Traffic(),
            LabelShares(),
            Budget(),
            Inputs(),
            Columns(),
            Unknown(),
            Outputs(),
            Confidence(),
            LabelShift(),
            FeedbackShares(),
        ),
        description="what is looked for",
    )
    alerts: Alerting = Alerting()

    def inputs(self, given: Window, root: Path) -> dict[str, str]:
        """Nothing: signals are of the moment and never reused."""
        return {}

    def run(self, given: Window, run: Run) -> list[Signal]:
        """The signals, in the order of the detectors. Each test gets the same part of
        `false_alarms_per_look` (Bonferroni), however the tests depend on each other."""
        tests = sum(detector.tests(given) for detector in self.detectors)
        window = given._replace(alpha=self.false_alarms_per_look / max(tests, 1))
        return [signal for detector in self.detectors for signal in detector.detect(window)]
