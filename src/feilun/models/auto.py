"""`architecture = "auto"`: try what fits the time budget, keep what validates best."""

from __future__ import annotations

from typing import ClassVar, cast

from pydantic import Field

from feilun.core.part import find
from feilun.models.family import Architecture, Family


class Auto(Architecture):
    """Tries the named families that can do the task, and a stack of those that were trained;
    `train` keeps the best on the validation split."""

    use: ClassVar[str] = "auto"

    families: tuple[str, ...] = Field(
        ("ngram", "transformer"), min_length=1, description="the cheapest first"
    )

    def candidates(self) -> tuple[Family, ...]:
        """Each named family with its default settings."""
        return tuple(cast(type[Family], find("family", name))() for name in self.families)
