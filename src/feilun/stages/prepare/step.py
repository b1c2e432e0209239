"""What every step of preparing offers, and how twins are told."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import polars as pl

from feilun.core.part import Part
from feilun.core.run import Run


class Step(Part):
    """One change to the records; a `[[prepare.steps]]` table. What it takes out it must give to
    `run.drop` with a reason."""

    kind: ClassVar[str] = "step"

    @abstractmethod
    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        """`frame` (columns of `feilun.core.records.SCHEMA`), changed; order kept."""


def twin_key(text: pl.Expr) -> pl.Expr:
    """The form in which twins are equal: NFKC, lower case, only letters and digits; the text
    itself where that leaves nothing. «很好！！» and « 很 好 » are twins."""
    folded = text.str.normalize("NFKC").str.to_lowercase()
    bare = folded.str.replace_all(r"[^\p{L}\p{N}]+", "")
    return pl.when(bare != "").then(bare).otherwise(folded)
