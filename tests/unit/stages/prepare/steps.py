"""One step on a few texts: what it keeps, drops and counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from feilun.core.records import SCHEMA, conform
from feilun.economics.meter import Meter
from feilun.stages.prepare.step import Step
from feilun.store import Blobs
from feilun.wheel.runner import LocalRun


class Done(NamedTuple):
    texts: list[str | None]
    dropped: list[tuple[str | None, str]]
    counts: dict[str, float]
    frame: pl.DataFrame


def apply(step: Step, texts: Sequence[str | None], folder: Path) -> Done:
    """What becomes of records of these texts."""
    return applied(step, pl.DataFrame({"text": texts}, schema={"text": pl.String}), folder)


def applied(step: Step, frame: pl.DataFrame, folder: Path) -> Done:
    """What becomes of records with these columns; no record may vanish or come."""
    meter = Meter()
    run = LocalRun(
        "test", seed=0, root=folder, folder=folder / "w", blobs=Blobs(folder), meter=meter
    )
    before = conform(frame)
    step.begin(run)
    kept = step.apply(before, run)
    dropped = run.dropped()
    assert kept.schema == SCHEMA
    assert kept.height + dropped.height == before.height
    assert set(dropped["step"]) <= {step.use}
    return Done(
        kept["text"].to_list(),
        dropped.select("text", "reason").rows(),
        dict(meter.spent),
        kept,
    )
