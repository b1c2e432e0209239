"""What every source of records offers."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from feilun.core.part import Part

if TYPE_CHECKING:
    import polars as pl


class Source(Part):
    """Where records come from; a `[[collect.sources]]` table."""

    kind: ClassVar[str] = "source"

    @abstractmethod
    def identity(self, root: Path) -> str:
        """A digest that changes when the records do; relative paths are below `root`."""

    @abstractmethod
    def read(self, root: Path) -> pl.DataFrame:
        """The records: `text`, `label` (null: none), `source`, `row` (its place, from 1)."""
