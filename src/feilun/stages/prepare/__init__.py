"""Prepare: raw records → a dataset, and every dropped record with its reason."""

from feilun.stages.prepare.stage import Prepare, PrepareGiven

__all__ = ["Prepare", "PrepareGiven"]
