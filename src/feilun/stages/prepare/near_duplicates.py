"""Nearly the same text more than once."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare.step import CorpusStep

if TYPE_CHECKING:
    import polars as pl

    from feilun.stages.prepare.corpus import Corpus


class NearDuplicates(CorpusStep):
    """Keeps the best of records whose texts are nearly the same, drops the rest as
    `near_duplicate`; `detail` is the id of the best one.

    Two texts are nearly the same when the sets of five-character pieces of their `twin_key`
    have a Jaccard similarity of `threshold` or more; shorter texts must be twins. A cluster is
    what such pairs connect. Its best record is a labelled one before an unlabelled one, then
    the longest, then the first.

    Labels are never merged silently: a small difference may be the one that counts («能退»,
    «不能退»), so the best record of every other label in the cluster stays too, unless its
    text is a twin of one that stays.
    """

    use: ClassVar[str] = "near_duplicates"

    threshold: float = Field(
        0.7, ge=0.5, le=0.95, description="Jaccard similarity of five-character pieces"
    )

    def thresholds(self) -> tuple[float, ...]:
        return (self.threshold,)

    def decide(self, corpus: Corpus, run: Run) -> pl.DataFrame:
        import polars as pl

        from feilun.core.records import id_texts

        clusters = corpus.near_duplicates(self.threshold).rename("cluster")
        known = corpus.known.select("at", "id", "key", "label", "size").hstack([clusters])
        known = known.filter(pl.len().over("cluster") > 1)
        ranked = known.sort(pl.col("label").is_null(), -pl.col("size").cast(pl.Int64), "at")
        # Of each label the best, of the unlabelled only where nothing better is; then no twins.
        best = pl.struct("cluster", "label").is_first_distinct()
        alone = pl.col("label").is_not_null() | pl.col("cluster").is_first_distinct()
        kept = ranked.filter(best & alone)
        kept = kept.filter(pl.struct("cluster", "key").is_first_distinct())
        first = kept.group_by("cluster", maintain_order=True).agg(pl.col("id").first())
        dropped = ranked.filter(~pl.col("at").is_in(kept["at"].implode()))
        dropped = dropped.select("at", "cluster").join(first, on="cluster").sort("at")
        return dropped.select(
            "at",
            pl.lit("near_duplicate").alias("reason"),
            pl.col("id").map_batches(id_texts, return_dtype=pl.String).alias("detail"),
        )
