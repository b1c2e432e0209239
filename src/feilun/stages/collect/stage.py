"""Collect: sources and the last round's feedback → raw records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field, SerializeAsAny

from feilun.core.artifacts import Collected, Records, sharded
from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.stages.collect.source import Quarantine, Source


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
        # A process that serves knows the settings and reads nothing.
        from feilun.core.records import parquet
        from feilun.stages.collect.reader import Reader, dropped_rows

        pieces: list[Collected] = []
        for done, source in enumerate(self.sources):
            run.progress(done, len(self.sources))
            pieces += Reader(source, given, run).pieces()
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
        dropped = dropped or [run.keep(parquet(dropped_rows(Quarantine())))]
        return Records(
            files=sharded("records", files) | sharded("dropped", dropped),
            parents=(given.feedback.digest,) if given.feedback else (),
            made_by=self.model_dump(mode="json"),
            num_rows=counts.total(),
            sources=dict(counts),
            pieces=tuple(pieces),
            unreadable=dict(reasons),
        )
