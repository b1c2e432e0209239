"""What every collector of feedback offers."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

from feilun.core.part import Part


class Vote(NamedTuple):
    """`source` holds that `text` has `label`; `seq` orders votes in time."""

    text: str
    label: str
    source: str
    seq: int


class Collector(Part):
    """Reads votes for labels out of feedback; a `[[feedback.collectors]]` table."""

    kind: ClassVar[str] = "collector"

    @abstractmethod
    def vote(self, row: dict[str, Any]) -> Vote | None:
        """The vote in one feedback (`EventLog.feedback_through`), or None if it is not one."""
