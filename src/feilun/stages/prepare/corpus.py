"""All records at once, as far as memory holds them: a few numbers of each, the texts on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import polars as pl

from feilun.core.records import id_numbers
from feilun.core.similarity import near_duplicates
from feilun.core.text import Texts, hashes
from feilun.stages.prepare.fit import answers
from feilun.stages.prepare.twins import twin_texts
from feilun.tasks import Classify, Task

if TYPE_CHECKING:
    from feilun.stages.prepare.step import CorpusStep

KNOWN = ("at", "id", "key", "label", "source", "size")
"""What is always known of a record: its row number in the corpus (UInt32); its id as a number
(UInt64; `id_texts` writes it); the hash of its twin key (UInt64); label (of a task that has other
answers, what `feilun.stages.prepare.fit.answers` gives); source (Categorical); and the number of
its characters (UInt32). Where answers do not exclude each other, also the `stratum`."""

DROPS = {"at": pl.UInt32, "reason": pl.String, "detail": pl.String}
"""The columns of what a `CorpusStep` decides."""


class Corpus:
    """The records that are still there when a `CorpusStep` decides.

    `known` has a row per record: `KNOWN` and what the step's `know` gave; `task` is what is asked.
    """

    def __init__(
        self,
        known: pl.DataFrame,
        frames: Callable[[], Iterator[pl.DataFrame]],
        similar: Callable[[float], pl.Series],
        task: Task | None = None,
    ) -> None:
        self.task = task or Classify()
        self.known = known
        self._frames = frames
        self._similar = similar

    def frames(self) -> Iterator[pl.DataFrame]:
        """The records shard by shard: the columns of `SCHEMA`, and `at`."""
        return self._frames()

    def near_duplicates(self, threshold: float) -> pl.Series:
        """The number of each record's cluster of near-duplicates (UInt32), a row per row of
        `known`; see `feilun.core.similarity`."""
        return self._similar(threshold)

    @classmethod
    def of(cls, frame: pl.DataFrame, step: CorpusStep, task: Task | None = None) -> Corpus:
        """The corpus of one frame in memory."""
        keys = twin_texts(frame)
        known = (
            described(frame, keys, task or Classify()).with_row_index("at").hstack(step.know(frame))
        )
        return cls(
            known,
            lambda: iter([frame.with_row_index("at")]),
            lambda threshold: near_duplicates(keys, threshold=threshold),
            task,
        )


def described(frame: pl.DataFrame, keys: Texts, task: Task) -> pl.DataFrame:
    """The columns of `KNOWN` but `at`, from the records and their twin keys."""
    stratum = [] if task.exclusive else [task.stratum().alias("stratum")]
    size = pl.coalesce(pl.col("text"), pl.col("fields")).str.len_chars().fill_null(0)
    return frame.select(
        id_numbers(pl.col("id")),
        pl.Series("key", hashes(keys), dtype=pl.UInt64),
        answers(frame, task),
        pl.col("source").cast(pl.Categorical),
        size.cast(pl.UInt32).alias("size"),
        *stratum,
    )
