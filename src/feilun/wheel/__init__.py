"""The wheel: a project, its turns, and what is live."""

from feilun.wheel.project import Project
from feilun.wheel.turn import Turn

__all__ = ["Project", "Turn"]
