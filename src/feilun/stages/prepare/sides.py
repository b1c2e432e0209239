"""Train, validation and a frozen test; no text, nor a nearly equal one, stands on two sides.

The sides are drawn by each text's key and the seed, label by label, never by order of arrival; or
by time, the newest to the test. What is drawn are clusters of near-duplicates, most of them of
one text (by group: what shares a cluster or a group): a test whose texts the model has nearly
seen measures its memory.
Once a model is live, the test keeps its rows over all turns. Feedback never enters test or
validation, nor do a model's own answers: users choose what they rate, and a test that drifts with
their choice, or agrees with a model by its making, measures nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from feilun.core.artifacts import SPLITS
from feilun.core.records import LEARNT_ONLY
from feilun.stages.prepare.fit import several
from feilun.stages.prepare.lots import lots
from feilun.stages.prepare.split import (
    NothingToFind,
    NothingToSplitBy,
    OneLabel,
    OneValue,
    SplitEmpty,
    SplitTooSmall,
    TooFewRecords,
)
from feilun.tasks import Classify, Task
from feilun.tasks.classify import LABEL_SEPARATOR

if TYPE_CHECKING:
    from feilun.stages.prepare.split import Split

LABELLED = SPLITS[:3]
CLUSTER = "_cluster"


class Sides(NamedTuple):
    """Where the records go: `at`, `label`, `side` (a place in `SPLITS`); and `drops`, those that go
    nowhere: `at`, `reason`. `rare` counts the labels whose one record went to train."""

    sides: pl.DataFrame
    drops: pl.DataFrame
    rare: int = 0


def assign(
    split: Split,
    known: pl.DataFrame,
    clusters: pl.Series | None,
    frozen: pl.DataFrame,
    seed: int,
    task: Task | None = None,
) -> Sides:
    """The side of each record of `known` (`at`, `key`, `label`, `source`, `group`, `time`; where
    answers do not exclude each other, `stratum`), by the settings `split`.

    `frozen` has `key` and `label` of the test so far. `clusters` are numbers of
    near-duplicates: those below the number of frozen records hold one of them. Without
    them each text is its own.
    """
    num_frozen = frozen.height
    own = pl.int_range(num_frozen, num_frozen + pl.len(), dtype=pl.UInt32)
    known = known.with_columns((clusters if clusters is not None else own).alias(CLUSTER))
    # Whatever the steps were: a text that stands twice could stand on two sides.
    twin = ~pl.col("key").is_first_distinct()
    drops = [_dropped(known.filter(twin), "duplicate")]
    known = known.filter(~twin)
    again = pl.col("key").is_in(frozen["key"].implode())
    feedback = pl.col("source").cast(pl.String).is_in(LEARNT_ONLY)
    drops.append(_dropped(known.filter(again & feedback), "in_test"))
    known = known.filter(~again)
    near_frozen = pl.col(CLUSTER) < num_frozen
    drops.append(_dropped(known.filter(near_frozen), "in_test"))
    known = known.filter(~near_frozen)
    if split.by == "group":
        known = known.with_columns(_connected(known))
    labelled = known.filter(pl.col("label").is_not_null())
    total = labelled.height + num_frozen
    if total < split.minimum:
        raise TooFewRecords(total, split.minimum)
    task = task or Classify()
    strata = _strata(labelled, f"{seed}:train") if several(task) else labelled
    if "stratum" in strata.columns:
        strata = strata.with_columns(label=pl.col("stratum"))
    test = _test(split, strata, seed) if num_frozen == 0 else labelled[CLUSTER].clear()
    unlabelled = known.filter(pl.col("label").is_null())
    drops.append(_dropped(_in(unlabelled, test), "in_test"))
    validation = _validation(split, _in(strata, test, False), seed)
    sides = {
        "train": _in(_in(labelled, test, False), validation, False),
        "validation": _in(_in(labelled, test, False), validation),
        "test": _in(labelled, test),
        "unlabelled": _in(unlabelled, test, False),
    }
    counted = {name: side["label"] for name, side in sides.items()}
    if num_frozen:
        counted["test"] = frozen["label"]
    rare = num_frozen == 0 and split.by != "time" and task.exclusive
    _check(counted, task)
    placed = [
        side.select("at", "label", pl.lit(SPLITS.index(name), dtype=pl.UInt8).alias("side"))
        for name, side in sides.items()
    ]
    single = _single(labelled) if rare else 0
    return Sides(pl.concat(placed).sort("at"), pl.concat(drops), single)


def _test(split: Split, labelled: pl.DataFrame, seed: int) -> pl.Series:
    """The clusters of the first test."""
    ours = ~pl.col("source").cast(pl.String).is_in(LEARNT_ONLY)
    if split.by == "time":
        return _newest(labelled, ours, split.test)
    if split.by == "group" and labelled["group"].null_count() == labelled.height:
        raise NothingToSplitBy("group", labelled.height)
    return _drawn(labelled, ours, split.test, f"{seed}:test")


def _validation(split: Split, labelled: pl.DataFrame, seed: int) -> pl.Series:
    ours = ~pl.col("source").cast(pl.String).is_in(LEARNT_ONLY)
    if split.by == "time":
        return _newest(labelled, ours, split.validation)
    enough = ours.sum().over("label") >= 4
    return _drawn(labelled, ours & enough, split.validation, f"{seed}:validation")


def _dropped(frame: pl.DataFrame, reason: str) -> pl.DataFrame:
    return frame.select("at", pl.lit(reason).alias("reason"))


def _connected(known: pl.DataFrame) -> pl.Series:
    """Each record's component: what shares a cluster or a group, directly or through others; its
    number is its lowest cluster's."""
    group = known.select(
        pl.when(pl.col("group").is_null())
        # Without a group: one of its own.
        .then(pl.int_range(pl.len(), dtype=pl.UInt32) + known.height)
        .otherwise(pl.col("group").rank("dense").cast(pl.UInt32))
        .alias("group")
    )["group"]
    frame = pl.DataFrame({"cluster": known[CLUSTER], "group": group, "found": known[CLUSTER]})
    while True:
        lower = frame.with_columns(pl.col("found").min().over("group")).with_columns(
            pl.col("found").min().over("cluster")
        )
        if lower["found"].equals(frame["found"]):
            return lower["found"].rename(CLUSTER)
        frame = lower


def _newest(labelled: pl.DataFrame, eligible: pl.Expr, share: float) -> pl.Series:
    """The clusters whose first record is among the newest `share` of the eligible ones.

    A cluster that begins before belongs to the past as a whole, and so do records without a
    time: what is tested on comes after everything that is learnt from.
    """
    times = labelled.filter(eligible)["time"].drop_nulls().sort()
    if len(times) == 0:
        raise NothingToSplitBy("time", labelled.height)
    cut = times[len(times) - max(1, round(len(times) * share))]
    clusters = labelled.group_by(CLUSTER).agg(
        pl.col("time").min().alias("first"),
        pl.col("time").null_count().alias("undated"),
        eligible.all().alias("eligible"),
    )
    newest = (pl.col("first") >= cut) & (pl.col("undated") == 0) & pl.col("eligible")
    return clusters.filter(newest)[CLUSTER]


def _drawn(labelled: pl.DataFrame, eligible: pl.Expr, share: float, salt: str) -> pl.Series:
    """Clusters with about `share` of each label's eligible records, those with the lowest lots:
    a number drawn from the cluster's lowest key and `salt` alone.

    A cluster counts, with all its records, for the label of its lowest key. One with a record
    that is not eligible (feedback, predictions) is never drawn. At most one record more than the
    share is taken, and at least one cluster (the smallest, where all are larger than the share); a
    label that is one large cluster, or one record, is left to be learnt from, and so is a cluster
    without a label.
    """
    # Numbers for the labels: whatever is done label by label is done much faster.
    number = pl.col("label").cast(pl.Categorical).to_physical()
    pool = labelled.select("key", number, CLUSTER, eligible.alias("_eligible")).sort("key")
    wanted = pool.group_by("label").agg(
        (pl.col("_eligible").sum() * share).ceil().alias("_wanted"), pl.len().alias("_records")
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
        .with_columns(_label_clusters=pl.len().over("label"))
        .filter(pl.col("_eligible") & ((pl.col("_label_clusters") > 1) | (pl.col("_size") == 1)))
        .filter(pl.col("_records") > 1)
        # What does not fit comes after all that does, smallest first.
        .with_columns(_beyond=pl.max_horizontal(pl.col("_size") - pl.col("_wanted"), 0.0))
    )
    clusters = clusters.with_columns(lots(clusters["key"], salt).alias("_lot"))
    # No two lots are the same; to sort by one column is three times as fast.
    small, large = pl.col("_beyond") == 0, pl.col("_beyond") > 0
    clusters = pl.concat(
        [clusters.filter(small).sort("_lot"), clusters.filter(large).sort("_beyond", "_lot")]
    )
    fits = pl.col("_size").cum_sum().over("label") <= pl.col("_wanted")
    return clusters.filter(fits | pl.col("label").is_first_distinct())[CLUSTER]


def _in(frame: pl.DataFrame, clusters: pl.Series, inside: bool = True) -> pl.DataFrame:
    return frame.filter(pl.col(CLUSTER).is_in(clusters.implode()) == inside)


def _strata(labelled: pl.DataFrame, salt: str) -> pl.DataFrame:
    """`labelled` without stratum for what must be learnt from: of each label the cluster with
    the lowest lot among those that have it."""
    names = labelled.select(
        "key", CLUSTER, pl.col("label").str.split(LABEL_SEPARATOR).alias("name")
    )
    names = (
        names.with_columns(lots(names["key"], salt)).explode("name").filter(pl.col("name") != "")
    )
    first = names.sort("lot", "key").unique("name", keep="first", maintain_order=True)
    kept = pl.col(CLUSTER).is_in(first[CLUSTER].implode())
    return labelled.with_columns(pl.when(~kept).then("stratum").alias("stratum"))


def _single(labelled: pl.DataFrame) -> int:
    """The labels with a single record, which is no near-duplicate of another."""
    alone = labelled.filter((pl.len().over("label") == 1) & (pl.len().over(CLUSTER) == 1))
    return alone.filter(~pl.col("source").cast(pl.String).is_in(LEARNT_ONLY)).height


def _check(counted: dict[str, pl.Series], task: Task) -> None:
    """Raises where there is nothing to learn or to measure; `counted` has the answers of each
    side."""
    if task.exclusive:
        _check_labels(counted)
        return
    train = counted["train"]
    total = sum(len(counted[name]) for name in LABELLED)
    for name in LABELLED:
        if len(counted[name]) == 0:
            raise SplitEmpty(name, total)
    if task.use == "regress":
        if train.cast(pl.Float64).n_unique() < 2:
            raise OneValue(train[0], len(train))
    elif not (train != "").any():
        raise NothingToFind(task.use, len(train))


def _check_labels(counted: dict[str, pl.Series]) -> None:
    labels = sorted(pl.concat([counted[name] for name in LABELLED]).unique().to_list())
    if len(labels) < 2:
        raise OneLabel(labels)
    for label in labels:
        for split in ("train", "test"):
            # A label that only came after the test was frozen cannot be in it.
            if split == "train" or counted["test"].n_unique() < 2:
                count = int((counted[split] == label).sum())
                if count == 0:
                    raise SplitTooSmall(split, label, count)
    if len(counted["validation"]) == 0:
        raise SplitTooSmall("validation", labels[0], 0)
