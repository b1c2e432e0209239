"""What one source gives in a turn: what it gave before, and what must be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from feilun.core.artifacts import Collected
from feilun.core.records import ShardWriter, as_dropped, conform, id_numbers, parquet, read_shards
from feilun.core.run import Run
from feilun.stages.collect.source import Piece, Quarantine, Source
from feilun.store.disk import write_file

if TYPE_CHECKING:
    from feilun.stages.collect.stage import CollectGiven


class Reader:
    """Reads one source, piece by piece; a piece that is done stays done after a kill."""

    def __init__(self, source: Source, given: CollectGiven, run: Run) -> None:
        self.source = source
        self.key = source.lineage()
        self.run = run.within(f"source-{self.key}")
        # What a growing source gave may be gone from it by now: it stays, whoever read it.
        usable = given.previous is not None and (given.same_code or source.accumulates)
        before = given.previous.pieces if given.previous is not None and usable else ()
        self.earlier = [piece for piece in before if piece.source == self.key]

    def pieces(self) -> list[Collected]:
        """Every piece, those of earlier turns first where the source accumulates."""
        accumulates = self.source.accumulates
        since = self.earlier[-1].watermark if accumulates and self.earlier else None
        made = list(self.earlier) if accumulates else []
        for piece in self.source.pieces(self.run.root, since):
            known = [
                p for p in self.earlier if (p.name, p.identity) == (piece.name, piece.identity)
            ]
            if known and accumulates:
                continue
            done = known[0] if known else self._read(piece, made)
            # What never changes need not be kept every turn.
            if done.num_rows or not accumulates or done.watermark != since:
                made.append(done)
        return made

    def _read(self, piece: Piece, made: list[Collected]) -> Collected:
        name = hashlib.sha256(f"{piece.name}\x00{piece.identity}".encode()).hexdigest()[:16]
        journal = self.run.folder / f"{name}.json"
        if journal.exists():
            return Collected.model_validate_json(journal.read_bytes())
        quarantine = Quarantine()
        writer, rows = ShardWriter(self.run.keep), 0
        for frame in self._fresh(piece, quarantine, made):
            writer.add(frame)
            rows += frame.height
            self.run.progress(rows, rows, piece.name)
        done = Collected(
            source=self.key,
            name=piece.name,
            identity=piece.identity,
            num_rows=rows,
            files=writer.close(),
            watermark=piece.watermark(),
            dropped=(self.run.keep(parquet(dropped_rows(quarantine))),) if quarantine.shown else (),
            unreadable=dict(quarantine.counts),
        )
        write_file(journal, done.model_dump_json().encode())
        return done

    def _fresh(
        self, piece: Piece, quarantine: Quarantine, made: list[Collected]
    ) -> Iterator[pl.DataFrame]:
        """The piece's records; of a source that accumulates only those it never gave before."""
        files = [file for before in made for file in before.files]
        seen = np.empty(0, dtype=np.uint64)
        if self.source.accumulates and files:
            before = read_shards((self.run.file(file) for file in files), ["id"])
            seen = np.sort(_numbers(before))
        for chunk in piece.frames(quarantine):
            frame = conform(
                chunk
                if "source" in chunk.columns
                else chunk.with_columns(pl.lit(piece.name).alias("source"))
            )
            if len(seen):
                ids = _numbers(frame)
                place = np.minimum(np.searchsorted(seen, ids), len(seen) - 1)
                frame = frame.filter(pl.Series(seen[place] != ids))
            yield frame


def _numbers(frame: pl.DataFrame) -> np.ndarray:
    return frame.select(id_numbers(pl.col("id"))).to_series().to_numpy()


def dropped_rows(quarantine: Quarantine) -> pl.DataFrame:
    """The rows that could not be read, as `Run.dropped` gives those of other stages."""
    schema = {"source": pl.String, "row": pl.Int64, "reason": pl.String, "text": pl.String}
    frame = pl.DataFrame(quarantine.shown, schema=schema, orient="row")
    return as_dropped(conform(frame), "collect", "").with_columns(frame["reason"])
