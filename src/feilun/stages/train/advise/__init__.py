"""What advice on training rests on: probes, learning curves, rules that need no model."""

from feilun.stages.train.advise.probe import Probe, Probed, Prober, Served
from feilun.stages.train.advise.rules import Rule, rule

__all__ = ["Probe", "Probed", "Prober", "Rule", "Served", "rule"]
