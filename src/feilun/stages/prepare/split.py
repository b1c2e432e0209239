"""Train, validation and a frozen test; no text, nor a nearly equal one, stands on two sides.

The sides are drawn by each text's key and the seed, label by label, never by order of arrival.
What is drawn are clusters of near-duplicates, most of them of one text: a test whose texts the
model has nearly seen measures its memory.
Once a model is live, the test keeps its rows over all turns. Feedback never enters test or
validation: users choose what they rate, and a test that drifts with their choice measures
nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.records import FEEDBACK_SOURCE
from feilun.core.run import Run
from feilun.core.similarity import near_duplicates

LABELLED = ("train", "validation", "test")
SPLITS = (*LABELLED, "unlabelled")
CLUSTER = "_cluster"


class TooFewRecords(Invalid):
    """After cleaning, fewer labelled records are left than the minimum."""

    def __init__(self, count: int, needed: int) -> None:
        super().__init__(
            _(
                "{count} labelled records are left after cleaning; [prepare.split] minimum asks "
                "for {needed}."
            ).format(count=count, needed=needed),
            remedy=_("See what was dropped: feilun prepare --dropped all --show 20"),
        )


class OneLabel(Invalid):
    """There is nothing to tell apart."""

    def __init__(self, labels: list[str]) -> None:
        super().__init__(
            _("A classifier needs two labels or more; the records have {count}: {labels}.").format(
                count=len(labels), labels=", ".join(labels) or "-"
            ),
            remedy=_(
                "Name the label column: columns = {{ label = … }} under [[collect.sources]]."
            ).format(),
        )


class SplitTooSmall(Invalid):
    """A label has too few records for every split to have one."""

    def __init__(self, split: str, label: str, count: int) -> None:
        super().__init__(
            _(
                "Label '{label}' has {count} record(s) in split '{split}'; each label needs at "
                "least one in train and one in test."
            ).format(label=label, count=count, split=split),
            remedy=_("Collect more records of it, or merge it into another label."),
        )


class Split(BaseModel):
    """The shares of the labelled records; `train` gets the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    test: float = Field(0.2, gt=0, lt=0.9, description="share of each label, in the first turn")
    validation: float = Field(0.1, gt=0, lt=0.5, description="share of what is left")
    minimum: int = Field(20, ge=4, description="labelled records to go on with")
    near_duplicates: float | None = Field(
        0.7,
        ge=0,
        le=0.95,
        description="texts at least this alike (Jaccard) stay on one side; 0: only equal ones",
    )

    def assign(
        self, frame: pl.DataFrame, frozen: pl.DataFrame | None, run: Run
    ) -> dict[str, pl.DataFrame]:
        """The records of each of `SPLITS`; `frame` and `frozen` (the test so far) have `key`,
        unique in each."""
        if frozen is not None:
            again = pl.col("key").is_in(frozen["key"].implode())
            feedback = pl.col("source") == FEEDBACK_SOURCE
            run.drop(frame.filter(again & feedback), "split", "in_test")
            frame = frame.filter(~again)
        frame, near_frozen = self._clustered(frame, frozen)
        _drop(near_frozen, run)
        unlabelled = pl.col("label").is_null()
        labelled = frame.filter(~unlabelled)
        total = labelled.height + (frozen.height if frozen is not None else 0)
        if total < self.minimum:
            raise TooFewRecords(total, self.minimum)
        ours = pl.col("source") != FEEDBACK_SOURCE
        if frozen is None:
            test = _drawn(labelled, ours, self.test, f"{run.seed}:test")
            frozen, labelled = _in(labelled, test).drop(CLUSTER), _in(labelled, test, False)
            _drop(_in(frame.filter(unlabelled), test), run)
            frame = _in(frame, test, False)
        enough = ours.sum().over("label") >= 4
        validation = _drawn(labelled, ours & enough, self.validation, f"{run.seed}:validation")
        # In the order of their keys: what is learnt must not depend on who came first.
        splits = {
            "train": _in(labelled, validation, False).drop(CLUSTER).sort("key"),
            "validation": _in(labelled, validation).drop(CLUSTER).sort("key"),
            "test": frozen.sort("key"),
            "unlabelled": frame.filter(unlabelled).drop(CLUSTER).sort("key"),
        }
        _check(splits)
        return splits

    def _clustered(
        self, frame: pl.DataFrame, frozen: pl.DataFrame | None
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """`frame` with its clusters; apart, the records that share one with a frozen text."""
        if not self.near_duplicates:
            own = pl.int_range(pl.len(), dtype=pl.UInt32).alias(CLUSTER)
            return frame.with_columns(own), frame.clear().with_columns(own)
        known = frozen["key"] if frozen is not None else frame["key"].clear()
        found = near_duplicates(
            pl.concat([known, frame["key"]]).rename(CLUSTER), threshold=self.near_duplicates
        )
        frame = frame.with_columns(found.slice(len(known)))
        # The frozen texts come first, and a cluster has the number of its first row.
        near = pl.col(CLUSTER) < len(known)
        return frame.filter(~near), frame.filter(near)


def _drop(frame: pl.DataFrame, run: Run) -> None:
    run.drop(frame.drop(CLUSTER), "split", "in_test")


def _drawn(labelled: pl.DataFrame, eligible: pl.Expr, share: float, salt: str) -> pl.Series:
    """Clusters with about `share` of each label's eligible records, those with the lowest lots:
    a number drawn from the cluster's lowest key and `salt` alone.

    A cluster counts, with all its records, for the label of its lowest key. One with a record
    that is not eligible (feedback) is never drawn. At most one record more than the share is
    taken, and at least one cluster (the smallest, where all are larger than the share); a
    label that is one single cluster is left whole.
    """
    pool = labelled.with_columns(eligible.alias("_eligible")).sort("key")
    wanted = (
        pool.filter("_eligible").group_by("label").agg((pl.len() * share).ceil().alias("_wanted"))
    )
    clusters = (
        pool.group_by(CLUSTER)
        .agg(
            pl.col("key").first(),
            pl.col("label").first(),
            pl.len().alias("_size"),
            pl.col("_eligible").all(),
        )
        .join(wanted, on="label")
        .with_columns(pl.col("key").map_batches(_lots(salt), return_dtype=pl.UInt64).alias("_lot"))
        .with_columns(_label_clusters=pl.len().over("label"))
        .filter(pl.col("_eligible") & ((pl.col("_label_clusters") > 1) | (pl.col("_size") == 1)))
        # What does not fit comes after all that does, smallest first.
        .with_columns(_beyond=pl.max_horizontal(pl.col("_size") - pl.col("_wanted"), 0.0))
        .sort("_beyond", "_lot", "key")
    )
    fits = pl.col("_size").cum_sum().over("label") <= pl.col("_wanted")
    return clusters.filter(fits | pl.col("label").is_first_distinct())[CLUSTER]


def _lots(salt: str) -> Callable[[pl.Series], pl.Series]:
    def draw(keys: pl.Series) -> pl.Series:
        lots = [hashlib.blake2b(f"{salt}:{key}".encode(), digest_size=8).digest() for key in keys]
        return pl.Series([int.from_bytes(lot) for lot in lots], dtype=pl.UInt64)

    return draw


def _in(frame: pl.DataFrame, clusters: pl.Series, inside: bool = True) -> pl.DataFrame:
    return frame.filter(pl.col(CLUSTER).is_in(clusters.implode()) == inside)


def _check(splits: dict[str, pl.DataFrame]) -> None:
    everything = pl.concat([splits[name].select("label") for name in LABELLED])
    labels = sorted(everything["label"].unique().to_list())
    if len(labels) < 2:
        raise OneLabel(labels)
    for label in labels:
        for split in ("train", "test"):
            # A label that only came after the test was frozen cannot be in it.
            if split == "train" or len(splits["test"]["label"].unique()) < 2:
                count = splits[split].filter(pl.col("label") == label).height
                if count == 0:
                    raise SplitTooSmall(split, label, count)
    if splits["validation"].is_empty():
        raise SplitTooSmall("validation", labels[0], 0)
