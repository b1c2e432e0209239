"""Whether records are what the task asks for, and what they answer, as the steps compare it."""

from __future__ import annotations

from typing import ClassVar

import polars as pl
from pydantic import Field, SerializeAsAny

from feilun.core.records import SPANS
from feilun.core.run import Run
from feilun.core.text import hashes, utf8
from feilun.stages.prepare.step import CorpusStep, Step
from feilun.stages.prepare.twins import twin_key
from feilun.tasks import Task
from feilun.tasks.classify import LABEL_SEPARATOR
from feilun.tasks.match import ROLES
from feilun.tasks.regress import number


def several(task: Task) -> bool:
    """Whether a record may have several labels."""
    return bool(getattr(task, "multiple", False))


def answers(frame: pl.DataFrame, task: Task) -> pl.Series:
    """What each record answers (String), equal for records that answer the same; null where it
    is not labelled.

    The label; for `tag` the hash of the entities' types and folded texts in their order (the
    empty text without any): the offsets of twins may differ by white space and punctuation.
    """
    if task.use != "tag":
        found = frame.select(pl.when(task.labelled()).then(pl.col("label")).alias("label"))
        return found.to_series()
    on = pl.col("text").str.slice(pl.col("start"), pl.col("end") - pl.col("start"))
    entities = (
        frame.select("text", "spans")
        .with_row_index("_row")
        .filter(pl.col("spans").list.len() > 0)
        .explode("spans")
        .unnest("spans")
        .sort("_row", "start", "end", "label")
        .select("_row", pl.concat_str("label", twin_key(on), separator="\x00").alias("entity"))
        .group_by("_row", maintain_order=True)
        .agg(pl.col("entity").str.join("\x01"))
    )
    hashed = pl.Series("hash", hashes(utf8(entities["entity"])), dtype=pl.UInt64)
    named = entities.select("_row", hashed.cast(pl.String))
    found = frame.select(task.labelled().alias("labelled")).with_row_index("_row")
    return found.join(named, on="_row", how="left", maintain_order="left").select(
        pl.when("labelled").then(pl.col("hash").fill_null("")).alias("label")
    )["label"]


class Fit(Step):
    """Takes out what is no record of the task; it comes by itself, no table names it.

    `tag`: entities that overlap (`spans_overlap`); that are empty, have no label or fall outside
    the text (`span_outside`); `detail` is the offending ones, `[[start,end,"label"],…]`.
    `regress`: a label that is no finite number (`not_a_number`). `match`: no text, or not one
    `first` and one `second` in it that is not empty (`not_a_pair`; `detail`: which is missing).
    `classify` with `multiple`: nothing is taken out; the labels, also those of a list, are
    written sorted, each once, with `|` between.
    """

    use: ClassVar[str] = "task"

    task: SerializeAsAny[Task] = Field(description="what is asked")

    def apply(self, frame: pl.DataFrame, run: Run) -> pl.DataFrame:
        """The records that the task can be asked of."""
        if several(self.task):
            return frame.with_columns(_sorted_labels(frame))
        check = {"tag": _entities, "regress": _numbers, "match": _pairs}.get(self.task.use)
        if check is None:
            return frame
        found = check(frame)
        for (reason,), rows in found.drop_nulls("reason").group_by("reason", maintain_order=True):
            lost = frame[rows["_row"].to_list()].with_columns(rows["detail"])
            run.drop(lost, self.use, str(reason))
        return frame.filter(found["reason"].is_null())


def fitted_steps(task: Task, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """`steps` with the check of the records where it belongs: before all others; for `match`
    after the last that
    writes texts, because a step may leave nothing of one of the two texts."""
    if task.exclusive and task.use == "classify":
        return steps
    rewriting = [at for at, step in enumerate(steps) if not isinstance(step, CorpusStep)]
    at = max(rewriting, default=-1) + 1 if task.use == "match" else 0
    return (*steps[:at], Fit(task=task), *steps[at:])


def _sorted_labels(frame: pl.DataFrame) -> pl.Series:
    listed = pl.col("fields").str.contains('"labels":[', literal=True) & pl.col("label").is_null()
    names = frame.select(
        pl.when(listed).then(pl.col("fields").str.json_path_match("$.labels"))
    ).to_series()
    parts = pl.coalesce(
        pl.col("label").str.split(LABEL_SEPARATOR), names.str.json_decode(pl.List(pl.String))
    )
    bare = parts.list.eval(pl.element().str.strip_chars())
    bare = bare.list.eval(pl.element().filter(pl.element() != ""))
    return frame.select(
        bare.list.unique().list.sort().list.join(LABEL_SEPARATOR).alias("label")
    ).to_series()


def _numbers(frame: pl.DataFrame) -> pl.DataFrame:
    written = frame["label"].drop_nulls().unique().to_list()
    wrong = pl.col("label").is_in([label for label in written if number(label) is None])
    return frame.select(
        pl.int_range(pl.len()).alias("_row"),
        pl.when(wrong).then(pl.lit("not_a_number")).alias("reason"),
        pl.when(wrong).then(pl.col("label")).alias("detail"),
    )


def _pairs(frame: pl.DataFrame) -> pl.DataFrame:
    spans = _exploded(frame)
    solid = spans.filter(pl.col("inside") & pl.col("label").is_in(ROLES))
    counts = solid.group_by("_row").agg(
        *((pl.col("label") == side).sum().alias(side) for side in ROLES)
    )
    rows = pl.int_range(frame.height, eager=True, dtype=pl.Int64).alias("_row").to_frame()
    found = rows.join(counts, on="_row", how="left", maintain_order="left")
    missing = [
        pl.when(pl.col(side).fill_null(0) != 1).then(pl.lit(side)).otherwise(pl.lit(None))
        for side in ROLES
    ]
    detail = pl.concat_str(*missing, separator=", ", ignore_nulls=True)
    return found.select(
        "_row", pl.when(detail != "").then(pl.lit("not_a_pair")).alias("reason"),
        pl.when(detail != "").then(detail).alias("detail"),
    )  # fmt: skip


def _entities(frame: pl.DataFrame) -> pl.DataFrame:
    spans = _exploded(frame).sort("_row", "start", "end", maintain_order=True)
    outside = ~pl.col("inside") | (pl.col("label").fill_null("") == "")
    # Sorted by their starts, one that begins before any earlier one ends overlaps it.
    overlap = pl.col("start") < pl.col("end").cum_max().shift(1).over("_row")
    spans = spans.with_columns(
        pl.when(outside)
        .then(pl.lit("span_outside"))
        .when(overlap.fill_null(False))
        .then(pl.lit("spans_overlap"))
        .alias("reason"),
        pl.format('[{},{},"{}"]', "start", "end", pl.col("label").fill_null("")).alias("one"),
    )
    worst = (
        spans.filter(pl.col("reason").is_not_null())
        # One reason for a record: that a span is outside says more.
        .group_by("_row", maintain_order=True)
        .agg(
            pl.col("reason").min(),
            pl.col("one").filter(pl.col("reason") == pl.col("reason").min()),
        )
        .with_columns(pl.format("[{}]", pl.col("one").list.join(",")).alias("detail"))
    )
    rows = pl.int_range(frame.height, eager=True, dtype=pl.Int64).alias("_row").to_frame()
    found = rows.join(worst, on="_row", how="left", maintain_order="left")
    return found.select("_row", pl.col("reason", "detail").cast(pl.String))


def _exploded(frame: pl.DataFrame) -> pl.DataFrame:
    """A row per span: `_row`, `start`, `end`, `label`, and whether it is `inside` the text."""
    length = pl.col("text").str.len_chars().cast(pl.Int64).fill_null(0)
    inside = (pl.col("start") >= 0) & (pl.col("start") < pl.col("end")) & (pl.col("end") <= length)
    return (
        frame.select(pl.int_range(pl.len()).alias("_row"), "text", pl.col("spans").cast(SPANS))
        .filter(pl.col("spans").list.len() > 0)
        .explode("spans")
        .unnest("spans")
        .select("_row", "start", "end", "label", inside.fill_null(False).alias("inside"))
    )
