"""What is asked of a model: its record, its prediction, its loss and its metrics."""

from feilun.tasks.classify import Classify
from feilun.tasks.task import Prediction, Task

__all__ = ["Classify", "Prediction", "Task"]
