"""Release: a report and the policy → a verdict; what is live moves only by one."""

from feilun.stages.release.stage import Gate, GateGiven

__all__ = ["Gate", "GateGiven"]
