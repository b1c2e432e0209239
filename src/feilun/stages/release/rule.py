"""What every rule of the release policy offers."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, NamedTuple

from feilun.core.artifacts import Gain, Report
from feilun.core.message import Message
from feilun.core.part import Part


class Case(NamedTuple):
    """What a rule judges: the candidate's report, and its measured lead over what is live (over
    the best answer that looks at no input, while nothing is)."""

    report: Report
    gain: Gain


class Ruling(NamedTuple):
    """A rule's answer and its reason."""

    passed: bool
    reason: Message


class Rule(Part):
    """One condition on a candidate; a `[[release.rules]]` table. All must pass."""

    kind: ClassVar[str] = "rule"

    @abstractmethod
    def judge(self, case: Case) -> Ruling:
        """Whether the candidate may go live, and why."""
