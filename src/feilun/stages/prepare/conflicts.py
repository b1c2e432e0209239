"""The same text under different labels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare.step import CorpusStep

if TYPE_CHECKING:
    import polars as pl

    from feilun.stages.prepare.corpus import Corpus


class Conflicts(CorpusStep):
    """Settles texts that stand under several labels.

    `majority` keeps the label that more than half of the text's records have and drops the
    others as `conflict`; without such a label, and with `none` always, all of them go. `ask`
    takes all of them out as `conflict_asked`: they are not learnt from, and make the list of
    texts that a person should label. Unlabelled records take no part.

    With each dropped record goes, for `conflict`, the label that stays (null: none), and for
    `conflict_asked` the votes as a JSON object, the most first: `{"正面":2,"负面":1}`.

    For the task `tag` the vote is on all entities of a text, told by their types and words, and
    what goes with a dropped record is, for a label, the id of a record that has the entities. For
    `regress` nothing is dropped: two people may give the same text two numbers.
    """

    use: ClassVar[str] = "conflicts"

    keep: Literal["majority", "none", "ask"] = Field(
        "majority", description="which label stays; ask: none, a person is to say"
    )

    def decide(self, corpus: Corpus, run: Run) -> pl.DataFrame:
        """Only compares labels where texts are twins: 3 s and 0.6 GB for 10 million records."""
        import polars as pl

        from feilun.stages.prepare.corpus import DROPS

        if corpus.task.use == "regress":
            return pl.DataFrame(schema=DROPS)
        rows = _contested(corpus.known)
        if corpus.task.use == "tag":
            rows = _by_record(rows, corpus.known)
        votes = rows.group_by("key", "label").agg(pl.len().alias("votes"))
        if self.keep == "ask":
            losers, reason = rows.join(_ballots(votes), on="key"), "conflict_asked"
        else:
            won = pl.col("votes") * 2 > pl.col("votes").sum().over("key")
            winners = votes.filter(won) if self.keep == "majority" else votes.clear()
            winners = winners.select("key", detail="label")
            losers, reason = rows.join(winners, on="key", how="left"), "conflict"
            losers = losers.filter(pl.col("label").ne_missing(pl.col("detail")))
        return (
            losers.sort("at").select("at", pl.lit(reason).alias("reason"), "detail").cast(DROPS)  # type: ignore[arg-type]  # the stubs want one kind of key
        )


def _contested(known: pl.DataFrame) -> pl.DataFrame:
    """`at`, `key` and `label` of the labelled records whose text has several labels."""
    import polars as pl

    labelled = known.lazy().select("at", "key", "label").filter(pl.col("label").is_not_null())
    # Twins first, by their hashes alone: only few records are left to compare labels of.
    twins = labelled.filter(pl.col("key").is_duplicated()).collect()
    several = twins.group_by("key").agg(pl.col("label").n_unique().alias("labels"))
    return twins.join(several.filter(pl.col("labels") > 1), on="key", how="semi")


def _by_record(rows: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """`rows` with the id of the first record that answers the same instead of the answer."""
    import polars as pl

    from feilun.core.records import id_texts

    ids = rows.select("at").join(known.select("at", "id"), on="at", maintain_order="left")
    named = rows.with_columns(id_texts(ids["id"]).alias("id"))
    return named.with_columns(label=pl.col("id").sort_by("at").first().over("key", "label"))


def _ballots(votes: pl.DataFrame) -> pl.DataFrame:
    """The votes of each `key` as a JSON object, the most first."""
    import polars as pl

    labels = votes["label"].unique().to_list()
    names = pl.DataFrame(
        {"label": labels, "name": [json.dumps(label, ensure_ascii=False) for label in labels]},
        schema={"label": pl.String, "name": pl.String},
    )
    entry = pl.concat_str("name", pl.lit(":"), pl.col("votes").cast(pl.String))
    return (
        votes.join(names, on="label")
        .sort("key", "votes", "label", descending=[False, True, False])
        .group_by("key", maintain_order=True)
        .agg(pl.concat_str(pl.lit("{"), entry.str.join(","), pl.lit("}")).first().alias("detail"))
    )
