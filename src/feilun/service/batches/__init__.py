"""Batches: JSON Lines in, worked off behind live requests, JSON Lines out."""

from feilun.service.batches.intake import take_in
from feilun.service.batches.worker import Worker

__all__ = ["Worker", "take_in"]
