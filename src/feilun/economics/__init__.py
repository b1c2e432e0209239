"""What a turn costs: time and memory now; energy, tokens and money are counted the same way."""

from feilun.economics.meter import Meter
from feilun.economics.region import Economics

__all__ = ["Economics", "Meter"]
