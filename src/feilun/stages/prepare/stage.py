"""Prepare: raw records → a dataset, and every dropped record with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple

import polars as pl
from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Dataset, Records
from feilun.core.records import parquet
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.prepare.conflicts import Conflicts
from feilun.stages.prepare.duplicates import Duplicates
from feilun.stages.prepare.normalise import Normalise
from feilun.stages.prepare.split import LABELLED, Split
from feilun.stages.prepare.step import Step, twin_key

DEFAULT_STEPS = (Normalise(), Conflicts(), Duplicates())


class PrepareGiven(NamedTuple):
    """The raw records, and the file of the frozen test (its sha256) from the first turn on."""

    records: Records
    frozen_test: str | None


class Prepare(Stage[PrepareGiven, Dataset]):
    """The steps in their order, then the split."""

    use: ClassVar[str] = "prepare"

    steps: tuple[SerializeAsAny[Step], ...] = Field(DEFAULT_STEPS, description="in this order")
    split: Split = Split()

    def inputs(self, given: PrepareGiven, root: Path) -> dict[str, str]:
        """The records and the frozen test."""
        found = {"records": given.records.digest}
        return found | ({"frozen_test": given.frozen_test} if given.frozen_test else {})

    def run(self, given: PrepareGiven, run: Run) -> Dataset:
        """One Parquet file per split and `dropped.parquet`."""
        frame = pl.read_parquet(run.file(given.records.files["records.parquet"]))
        for done, step in enumerate(self.steps):
            run.progress(done, len(self.steps) + 1, step.use)
            frame = step.apply(frame, run)
        frame = frame.with_columns(twin_key(pl.col("text")).alias("key"))
        # Whatever the steps were: a text that stands twice could stand on two sides.
        twin = pl.col("key").is_first_distinct()
        run.drop(frame.filter(~twin), "split", "duplicate")
        path = run.file(given.frozen_test) if given.frozen_test else None
        frozen = pl.read_parquet(path) if path else None
        splits = self.split.assign(frame.filter(twin), frozen, run)
        dropped = run.dropped()
        labels = pl.concat([splits[name]["label"] for name in LABELLED])
        files = {f"{name}.parquet": run.keep(parquet(split)) for name, split in splits.items()}
        files["dropped.parquet"] = run.keep(parquet(dropped))
        run.spend(given.records.num_rows, "records")
        return Dataset(
            files=files,
            parents=(given.records.digest,),
            made_by=self.model_dump(mode="json"),
            labels=tuple(sorted(labels.unique().to_list())),
            splits={name: split.height for name, split in splits.items()},
            num_raw=given.records.num_rows,
            dropped=_counted(dropped["reason"]),
            balance={name: _counted(splits[name]["label"]) for name in LABELLED},
        )


def _counted(values: pl.Series) -> dict[str, int]:
    counts = values.rename("value").value_counts().sort("value")
    return dict(counts.rows())
