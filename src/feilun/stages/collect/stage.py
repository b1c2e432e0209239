"""Collect: sources and the last round's feedback → raw records."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

import polars as pl
from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Records
from feilun.core.records import parquet, with_ids
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.collect.source import Source


class CollectGiven(NamedTuple):
    """What the feedback of the last round became; None in the first."""

    feedback: Records | None


class Collect(Stage[CollectGiven, Records]):
    """Every record of every source, and those that feedback gave, in one table."""

    use: ClassVar[str] = "collect"

    sources: tuple[SerializeAsAny[Source], ...] = Field(
        min_length=1, description="read in this order"
    )

    def inputs(self, given: CollectGiven, root: Path) -> dict[str, str]:
        """The sources' content and the feedback."""
        found = {f"source.{i}": source.identity(root) for i, source in enumerate(self.sources)}
        return found | ({"feedback": given.feedback.digest} if given.feedback else {})

    def run(self, given: CollectGiven, run: Run) -> Records:
        """`records.parquet`, the sources in their order, then the feedback."""
        frames = []
        for done, source in enumerate(self.sources):
            run.progress(done, len(self.sources))
            frames.append(with_ids(source.read(run.root)))
        if given.feedback is not None:
            frames.append(pl.read_parquet(run.file(given.feedback.files["records.parquet"])))
        frame = pl.concat(frames)
        run.spend(frame.height, "records")
        counts = frame.group_by("source", maintain_order=True).len().rows()
        return Records(
            files={"records.parquet": run.keep(parquet(frame))},
            parents=(given.feedback.digest,) if given.feedback else (),
            made_by=self.model_dump(mode="json"),
            num_rows=frame.height,
            sources=dict(counts),
        )
