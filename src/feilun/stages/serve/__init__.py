"""Serve: a model and a request → predictions."""

from feilun.stages.serve.engine import Answer, Engine, Overloaded
from feilun.stages.serve.stage import Serve, ServeGiven

__all__ = ["Answer", "Engine", "Overloaded", "Serve", "ServeGiven"]
