"""Serve: a model and a request → predictions."""

from feilun.stages.serve.beyond import ENDPOINT, PERSON, Beyond, unanswered
from feilun.stages.serve.engine import Answered, Engine, NoVectors, Placed, Stopped
from feilun.stages.serve.stage import Serve, ServeGiven
from feilun.stages.serve.waiting import Overloaded, TooLate, TooManyWaiting

__all__ = [
    "ENDPOINT",
    "PERSON",
    "Answered",
    "Beyond",
    "Engine",
    "NoVectors",
    "Overloaded",
    "Placed",
    "Serve",
    "ServeGiven",
    "Stopped",
    "TooLate",
    "TooManyWaiting",
    "unanswered",
]
