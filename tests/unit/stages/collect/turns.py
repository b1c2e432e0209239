"""What a source gives turn by turn, put through the stage as a project does."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import polars as pl

from feilun.core.artifacts import Records
from feilun.core.records import conform, read_shards
from feilun.stages.collect import Collect, CollectGiven
from feilun.stages.collect.source import Quarantine, Source
from tests.unit.stages.scratch import scratch


class Read(NamedTuple):
    """One reading: its records, the watermark after it, and what could not be read."""

    frame: pl.DataFrame
    since: str | None
    quarantine: Quarantine

    @property
    def texts(self) -> list[str]:
        return self.frame["text"].to_list()


def read(source: Source, root: Path, since: str | None = None) -> Read:
    """Everything `source` gives at once."""
    quarantine, frames = Quarantine(), []
    for piece in source.pieces(root, since):
        for frame in piece.frames(quarantine):
            frames.append(conform(frame.with_columns(pl.lit(piece.name).alias("source"))))
        since = piece.watermark()
    empty = pl.DataFrame(schema={"text": pl.String})
    return Read(pl.concat(frames) if frames else conform(empty), since, quarantine)


class Project:
    """Turns of a project with one source."""

    def __init__(self, source: Source, root: Path) -> None:
        self.stage = Collect(sources=(source,))
        self.root = root
        self.previous: Records | None = None
        self.turn = 0

    def collect(self) -> pl.DataFrame:
        """One more turn; every record collected so far."""
        self.turn += 1
        run = scratch(self.root, f"collect-{self.turn}")
        self.previous = self.stage.run(CollectGiven(None, self.previous, self.turn), run)
        files = [run.file(digest) for digest in self.previous.shards("records")]
        frame = read_shards(files)
        assert frame.height == self.previous.num_rows
        return frame
