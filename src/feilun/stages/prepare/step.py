"""What the steps of preparing offer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.part import Part
from feilun.core.run import Run

if TYPE_CHECKING:
    import polars as pl

    from feilun.stages.prepare.corpus import Corpus
    from feilun.tasks import Task


class StepUnfit(Invalid):
    """A step, or a setting of one, has no meaning for what the project's task asks."""

    def __init__(self, step: str, task: str, setting: str | None = None) -> None:
        super().__init__(
            _(
                "'{what}' under [[prepare.steps]] does not go with the task {task} of [project]: "
                "its records do not have one label each that it could go by."
            ).format(what=f"{step}.{setting}" if setting else step, task=task),
            remedy=_("Take {what} out of [[prepare.steps]] in feilun.toml.").format(
                what=setting or f'use = "{step}"'
            ),
        )


class Step(Part):
    """One change to the records; a `[[prepare.steps]]` table.

    It is given one shard at a time, maybe in another process: what becomes of a record depends
    on that record alone. What it takes out it must give to `run.drop` with a reason. Its handle
    counts and drops; to keep, read or unpack what is stored is a whole run's (NotImplementedError).
    """

    kind: ClassVar[str] = "step"
    after_split: ClassVar[bool] = False
    """Whether it works on the training split alone, after the split."""

    tells: ClassVar[tuple[str, ...]] = ()
    """JSON files that it writes into `run.folder` and that go with the dataset; what else it
    writes there is scratch."""

    def begin(self, run: Run) -> None:
        """What must be there once before the first shard, such as a key; nothing by default."""

    def reads(self, root: Path) -> tuple[Path, ...]:
        """The files beside the records that its result depends on; none by default."""
        return ()

    def survey(
        self, frames: Callable[[], Iterator[pl.DataFrame]], run: Run, model: Path | None
    ) -> None:
        """For a step after the split: a look at the whole training split, once, before it is
        given its parts. `model` is the folder of the model that is live, if one is; what is to
        be remembered goes into `run.folder`. Nothing by default."""

    def fitted(self, task: Task) -> Self:
        """This step as it works for the task; itself by default. Raises `StepUnfit` where it
        has no meaning there."""
        return self

    @abstractmethod
    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        """`frame` (columns of `feilun.core.records.SCHEMA`), changed; order kept."""


class Rewrite(Step):
    """A step that writes texts anew; spans stay on what they were on, and a record whose text
    is then empty is dropped as `empty`."""

    @abstractmethod
    def rewritten(self, texts: pl.Series, run: Run) -> pl.Series:
        """Each text, written anew (String; null stays null)."""

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        import polars as pl

        from feilun.stages.prepare.spans import rewritten_in_pieces

        frame = rewritten_in_pieces(frame, lambda texts: self.rewritten(texts, run))
        empty = pl.col("text").eq_missing("") | (
            pl.col("text").is_null() & pl.col("fields").is_null()
        )
        run.drop(frame.filter(empty), self.use, "empty")
        return frame.filter(~empty)


class CorpusStep(Step):
    """A step that must see every record before it decides on one.

    It works in two halves, so that memory holds a few numbers of each record and not the texts:
    `know` says what it must know of each record, shard by shard, and `decide` goes over that.
    """

    def thresholds(self) -> tuple[float, ...]:
        """Those at which it will ask for near-duplicates."""
        return ()

    def know(self, frame: pl.DataFrame) -> pl.DataFrame:
        """What `decide` must know beyond `feilun.stages.prepare.corpus.KNOWN`: a row per record,
        in its order; few and narrow columns."""
        import polars as pl

        return pl.DataFrame(height=frame.height)

    @abstractmethod
    def decide(self, corpus: Corpus, run: Run) -> pl.DataFrame:
        """The records to drop: the columns of `DROPS` beside `Corpus`; `detail` says more, such
        as the id of the record that stays (null: nothing)."""

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        """`frame` as if it were the whole corpus."""
        import polars as pl

        from feilun.stages.prepare.corpus import Corpus

        dropped = self.decide(Corpus.of(frame, self), run)
        reasons = frame.with_row_index("at").join(dropped, on="at", how="left")
        for (reason,), rows in reasons.filter(pl.col("reason").is_not_null()).group_by(
            "reason", maintain_order=True
        ):
            run.drop(rows.drop("at", "reason"), self.use, str(reason))
        return frame.filter(~pl.int_range(pl.len(), dtype=pl.UInt32).is_in(dropped["at"].implode()))
