"""Serve: a model and a request → predictions."""

from feilun.stages.serve.engine import Answered, Engine, Overloaded
from feilun.stages.serve.stage import Serve, ServeGiven

__all__ = ["Answered", "Engine", "Overloaded", "Serve", "ServeGiven"]
