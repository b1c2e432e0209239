"""What every detector offers."""

from __future__ import annotations

from abc import abstractmethod
from enum import StrEnum
from typing import ClassVar, NamedTuple

from feilun.core.message import Message
from feilun.core.part import Part
from feilun.store.events import Usage


class Level(StrEnum):
    """How loud a signal is."""

    OK = "ok"
    WARNING = "warning"


class Signal(NamedTuple):
    """One figure of the window, and whether somebody should look."""

    name: str
    value: float
    level: Level
    message: Message


class Window(NamedTuple):
    """What happened between `since` and `until` (seconds since 1970), and the share of each label
    in the live model's training records."""

    since: float
    until: float
    usage: Usage
    training_shares: dict[str, float]


class Detector(Part):
    """Looks at a window; a `[[monitor.detectors]]` table."""

    kind: ClassVar[str] = "detector"

    @abstractmethod
    def detect(self, window: Window) -> list[Signal]:
        """The signals, loud or not."""
