"""A run in a folder of its own, and frames of records, for tests of single stages."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from feilun.core.artifacts import Records
from feilun.core.records import SCHEMA, conform, parquet
from feilun.store import Blobs
from feilun.wheel.runner import LocalRun

Row = tuple[str | None, str | None] | tuple[str | None, str | None, str]


def scratch(folder: Path, stage: str = "test", seed: int = 0) -> LocalRun:
    """A new run: nothing dropped yet; two runs of one folder share its blobs."""
    folder.mkdir(parents=True, exist_ok=True)
    own = Path(tempfile.mkdtemp(prefix=f"{stage}-", dir=folder))
    return LocalRun(stage, seed=seed, root=folder, folder=own, blobs=Blobs(folder / "blobs"))


def raw(rows: Sequence[Row]) -> pl.DataFrame:
    """Records of (text, label) or (text, label, source)."""
    made = [
        (row[0], row[1], row[2] if len(row) > 2 else "x.csv", at) for at, row in enumerate(rows)
    ]
    schema = {name: SCHEMA[name] for name in ("text", "label", "source", "row")}
    return conform(pl.DataFrame(made, schema=schema, orient="row"))


def records(rows: Sequence[Row], run: LocalRun) -> Records:
    """The same as a stored artifact."""
    frame = raw(rows)
    return Records(files={"records.parquet": run.keep(parquet(frame))}, num_rows=frame.height)


REVIEWS = [
    (
        f"{'很好' if number % 2 else '很差'}，第{chr(0x4E00 + number)}次住",
        "正面" if number % 2 else "负面",
    )
    for number in range(60)
]
"""Sixty different reviews, half of them good."""
