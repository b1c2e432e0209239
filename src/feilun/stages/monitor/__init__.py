"""Monitor: predictions, failures and feedback → signals."""

from feilun.stages.monitor.detector import Detector, Level, Said, Sample, Signal, Window
from feilun.stages.monitor.stage import Monitor

__all__ = ["Detector", "Level", "Monitor", "Said", "Sample", "Signal", "Window"]
