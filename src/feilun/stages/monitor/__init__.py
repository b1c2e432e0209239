"""Monitor: predictions, failures and feedback → signals."""

from feilun.stages.monitor.detector import Level, Signal, Window
from feilun.stages.monitor.stage import Monitor

__all__ = ["Level", "Monitor", "Signal", "Window"]
