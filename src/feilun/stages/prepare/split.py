"""Train, validation and a frozen test; no text stands on two sides.

The sides are drawn by each text's key and the seed, label by label, never by order of arrival.
Once a model is live, the test keeps its rows over all turns. Feedback never enters test or
validation: users choose what they rate, and a test that drifts with their choice measures
nothing.
"""

from __future__ import annotations

import hashlib

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from feilun.core.errors import Invalid
from feilun.core.i18n import _
from feilun.core.records import FEEDBACK_SOURCE
from feilun.core.run import Run

LABELLED = ("train", "validation", "test")
SPLITS = (*LABELLED, "unlabelled")


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
        unlabelled = pl.col("label").is_null()
        labelled = frame.filter(~unlabelled)
        total = labelled.height + (frozen.height if frozen is not None else 0)
        if total < self.minimum:
            raise TooFewRecords(total, self.minimum)
        ours = labelled.filter(pl.col("source") != FEEDBACK_SOURCE)
        if frozen is None:
            frozen = _lowest(ours, self.test, f"{run.seed}:test")
            labelled, ours = _without(labelled, frozen), _without(ours, frozen)
        validation = _lowest(
            ours.filter(pl.len().over("label") >= 4), self.validation, f"{run.seed}:validation"
        )
        # In the order of their keys: what is learnt must not depend on who came first.
        splits = {
            "train": _without(labelled, validation).sort("key"),
            "validation": validation.sort("key"),
            "test": frozen.sort("key"),
            "unlabelled": frame.filter(unlabelled).sort("key"),
        }
        _check(splits)
        return splits


def _lowest(frame: pl.DataFrame, share: float, salt: str) -> pl.DataFrame:
    """Of each label, the `share` of records (at least one) with the lowest lot: a number drawn
    from key and `salt` alone."""

    def draw(keys: pl.Series) -> pl.Series:
        lots = [hashlib.blake2b(f"{salt}:{key}".encode(), digest_size=8).digest() for key in keys]
        return pl.Series([int.from_bytes(lot) for lot in lots], dtype=pl.UInt64)

    lot = pl.col("key").map_batches(draw, return_dtype=pl.UInt64)
    place = lot.rank("ordinal").over("label") - 1
    return frame.filter(place < share * pl.len().over("label"))


def _without(frame: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(~pl.col("key").is_in(taken["key"].implode()))


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
