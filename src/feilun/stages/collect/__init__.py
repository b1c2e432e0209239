"""Collect: sources → raw records."""

from feilun.stages.collect.stage import Collect, CollectGiven

__all__ = ["Collect", "CollectGiven"]
