"""What advice on training rests on: probes, learning curves, rules that need no model."""

from feilun.stages.train.advise.probe import Parts, Probe, Probed, Prober, Served, parted
from feilun.stages.train.advise.rules import Rule, rule

__all__ = ["Parts", "Probe", "Probed", "Prober", "Rule", "Served", "parted", "rule"]
