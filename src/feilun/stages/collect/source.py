"""What every source of records offers."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from feilun.core.part import Part

if TYPE_CHECKING:
    import polars as pl

EXCERPT = 200
"""Characters kept of a row that could not be read."""
MOST_SHOWN = 10_000
"""Quarantined rows kept for people; all are counted."""


class Bad(NamedTuple):
    """A row that could not be read: where it stands, why, and its beginning."""

    source: str
    row: int
    reason: str
    excerpt: str


class Quarantine:
    """The rows that could not be read; the others go on.

    Reasons are codes: `too_long`, `not_text`, `ragged`, `open_quote`, `not_json`, `too_deep`,
    `not_an_object`, `no_text`, `bad_spans`…; `feilun.wheel.describe.REASONS` has their names.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.shown: list[Bad] = []

    def add(self, source: str, row: int, reason: str, excerpt: str | bytes = "") -> None:
        """Notes one row (from 1); of `excerpt` the first `EXCERPT` characters are kept."""
        self.counts[reason] += 1
        if len(self.shown) < MOST_SHOWN:
            if isinstance(excerpt, bytes):
                excerpt = excerpt[: 4 * EXCERPT].decode("utf-8", "replace")
            clean = excerpt[:EXCERPT].replace("\x00", "\N{SYMBOL FOR NULL}")
            self.shown.append(Bad(source, row, reason, clean))


class Piece(NamedTuple):
    """A part of a source that is read as one: a file, what an SQL table has that is new.

    `identity` is the digest of what it holds: a piece whose identity is known is not read
    again. `frames` reads it, chunk by chunk in bounded memory: frames with `text`, `row` and
    whatever else of `feilun.core.records.SCHEMA` there is (`source` too, where it is not
    `name` for all); what cannot be read goes to the quarantine. `watermark` is asked for after
    the last frame: how far the source has been read.
    """

    name: str
    identity: str
    frames: Callable[[Quarantine], Iterator[pl.DataFrame]]
    watermark: Callable[[], str | None] = lambda: None


class Source(Part):
    """Where records come from; a `[[collect.sources]]` table."""

    kind: ClassVar[str] = "source"
    accumulates: ClassVar[bool] = False
    """Whether each turn gives only what is new, and what was read before stays."""
    incidental: ClassVar[frozenset[str]] = frozenset()
    """Settings that do not change what a record is, such as limits and keys: with another value
    it is the same source, and what it gave before stays."""

    @abstractmethod
    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        """Its pieces, in a fixed order; relative paths are below `root`. `since` is the
        watermark of the last turn (None: from the beginning), for those that accumulate."""

    def lineage(self) -> str:
        """By which a source is known again in the next turn, 16 hex digits."""
        settings = self.model_dump_json(exclude=set(self.incidental))
        return hashlib.sha256(settings.encode()).hexdigest()[:16]

    def identity(self, root: Path) -> str | None:
        """A digest that changes when the records do; None: only asking can tell, so it is read
        again in each turn."""
        if self.accumulates:
            return None
        digest = hashlib.sha256()
        for piece in self.pieces(root, None):
            digest.update(f"{piece.name}\x00{piece.identity}\x00".encode())
        return "sha256:" + digest.hexdigest()
