"""Evaluate: a model and the frozen test → a report."""

from feilun.stages.evaluate.stage import Evaluate, EvaluateGiven

__all__ = ["Evaluate", "EvaluateGiven"]
