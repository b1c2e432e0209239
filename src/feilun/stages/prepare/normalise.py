"""One way to write the same text."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from feilun.core.run import Run
from feilun.stages.prepare.step import Step


class Normalise(Step):
    """Unicode NFKC (full-width → half-width), control characters out, runs of white space → one
    space, trimmed; a record whose text is then empty is dropped as `empty`."""

    use: ClassVar[str] = "normalise"

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        text = (
            pl.col("text")
            .fill_null("")
            .str.normalize("NFKC")
            .str.replace_all(r"[\p{Cc}\p{Cf}\s]+", " ")
            .str.strip_chars()
        )
        frame = frame.with_columns(text)
        empty = pl.col("text") == ""
        run.drop(frame.filter(empty), self.use, "empty")
        return frame.filter(~empty)
