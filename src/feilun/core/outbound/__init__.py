"""Requests to other machines, which cannot be turned against this one's network."""

from feilun.core.outbound.client import MOST_BYTES, Answer, Outbound
from feilun.core.outbound.urls import allowed, parsed

__all__ = ["MOST_BYTES", "Answer", "Outbound", "allowed", "parsed"]
