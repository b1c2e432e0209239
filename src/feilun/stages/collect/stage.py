"""Collect: sources and the last round's feedback → raw records."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Collected, Records, sharded
from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.records import ShardWriter, as_dropped, conform, id_numbers, parquet, read_shards
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.collect.source import Piece, Quarantine, Source
from feilun.store.disk import write_file


class NothingCollected(Invalid):
    """Not one source had a record that could be read."""

    def __init__(self, unreadable: int) -> None:
        super().__init__(
            _("The sources hold no records; {count:,} rows could not be read.").format(
                count=unreadable
            ),
            remedy="feilun collect --preview",
        )


class CollectGiven(NamedTuple):
    """What the feedback of the last round became (None in the first), what was collected in the
    last turn, and the number of this one. `same_code` is false when another version of Feilun
    collected it: what can be read again is then read again."""

    feedback: Records | None
    previous: Records | None = None
    turn: int = 1
    same_code: bool = True


class Collect(Stage[CollectGiven, Records]):
    """Every record of every source, and those that feedback gave.

    What a source gave in the last turn is not read again: a file that is the same, what a table
    had before its watermark. A record that a growing source gives a second time counts once.
    """

    use: ClassVar[str] = "collect"

    sources: tuple[SerializeAsAny[Source], ...] = Field(
        min_length=1, description="read in this order"
    )

    def inputs(self, given: CollectGiven, root: Path) -> dict[str, str]:
        """The sources' content and the feedback; a source that only asking can tell about is
        asked once in a turn, and what it gave before counts."""
        found = {}
        for number, source in enumerate(self.sources):
            found[f"source.{number}"] = source.identity(root) or f"turn {given.turn}"
        if given.previous is not None and any(source.accumulates for source in self.sources):
            found["previous"] = given.previous.digest
        return found | ({"feedback": given.feedback.digest} if given.feedback else {})

    def run(self, given: CollectGiven, run: Run) -> Records:
        """The sources' records in their order, then the feedback's."""
        pieces: list[Collected] = []
        for done, source in enumerate(self.sources):
            run.progress(done, len(self.sources))
            pieces += _Reader(source, given, run).pieces()
        counts: Counter[str] = Counter()
        for piece in pieces:
            counts[piece.name] += piece.num_rows
        files = [file for piece in pieces for file in piece.files]
        if given.feedback is not None:
            files += given.feedback.shards("records")
            counts.update(given.feedback.sources)
        reasons = Counter[str]()
        for piece in pieces:
            reasons.update(piece.unreadable)
        if not counts.total():
            raise NothingCollected(reasons.total())
        run.spend(counts.total(), "records")
        dropped = [file for piece in pieces for file in piece.dropped]
        dropped = dropped or [run.keep(parquet(_dropped(Quarantine())))]
        return Records(
            files=sharded("records", files) | sharded("dropped", dropped),
            parents=(given.feedback.digest,) if given.feedback else (),
            made_by=self.model_dump(mode="json"),
            num_rows=counts.total(),
            sources=dict(counts),
            pieces=tuple(pieces),
            unreadable=dict(reasons),
        )


class _Reader:
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
            dropped=(self.run.keep(parquet(_dropped(quarantine))),) if quarantine.shown else (),
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


def _dropped(quarantine: Quarantine) -> pl.DataFrame:
    """The rows that could not be read, as `Run.dropped` gives those of other stages."""
    schema = {"source": pl.String, "row": pl.Int64, "reason": pl.String, "text": pl.String}
    frame = pl.DataFrame(quarantine.shown, schema=schema, orient="row")
    return as_dropped(conform(frame), "collect", "").with_columns(frame["reason"])
