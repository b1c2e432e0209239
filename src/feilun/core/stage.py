"""A stage: one class, one `run`."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from feilun.core.part import Part
from feilun.core.run import Run

STAGES = (
    "collect",
    "prepare",
    "train",
    "evaluate",
    "release",
    "serve",
    "monitor",
    "feedback",
)
"""The loop, in order: folder, section of feilun.toml, command, page, API tag, docs page."""

Given = TypeVar("Given")
Made = TypeVar("Made")


class Stage(Part, Generic[Given, Made]):
    """One stage of the wheel; its fields are its section in `feilun.toml`."""

    kind: ClassVar[str] = "stage"

    @abstractmethod
    def inputs(self, given: Given, root: Path) -> dict[str, str]:
        """The digest of everything in `given` (and in files outside the store) that the
        result depends on, by role; it goes into the stage's fingerprint."""

    @abstractmethod
    def run(self, given: Given, run: Run) -> Made:
        """Makes `Made` from `Given`; the same settings, input and seed give the same result."""
