"""A small world of made-up words to distil in: what a word means can be known or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from feilun.core.records import SPANS, conform, parquet
from feilun.models import Lesson
from feilun.stages.prepare.twins import twin_key
from feilun.tasks import Task, task_named

LABELS = ("差", "好")
NUM_WORDS = 200
"""Of each label: a student with few texts knows few of them."""


def _words(first: int, num: int) -> list[str]:
    made = np.random.default_rng(first).integers(0x4E00, 0x4E00 + 3000, (num, 2))
    return ["".join(map(chr, row)) for row in made]


_SAYING = [_words(number, NUM_WORDS) for number in range(2)]
_FILLING = _words(9, 100)


def reviews(num: int, seed: int) -> pl.DataFrame:
    """Texts with two words that say what their label is, and two that say nothing."""
    random = np.random.default_rng(seed)
    rows = []
    for at in range(num):
        saying, filling = random.choice(_SAYING[at % 2], 2), random.choice(_FILLING, 2)
        rows.append((f"{saying[0]}，{filling[0]}{saying[1]}，{filling[1]}", LABELS[at % 2]))
    return keyed(rows)


def keyed(
    rows: Sequence[tuple[str, str | None]], spans: Sequence[object] | None = None
) -> pl.DataFrame:
    """Records as a dataset has them, with their twins' key."""
    frame = pl.DataFrame(rows, schema={"text": pl.String, "label": pl.String}, orient="row")
    if spans is not None:
        frame = frame.with_columns(pl.Series("spans", spans, dtype=SPANS))
    return conform(frame).with_columns(twin_key(pl.col("text")).hash().alias("key"))


def stored(frame: pl.DataFrame, path: Path) -> Path:
    """The records without their labels, as a file."""
    path.write_bytes(parquet(frame.with_columns(pl.lit(None, dtype=pl.String).alias("label"))))
    return path


def lesson(
    train: pl.DataFrame,
    folder: Path,
    *unlabelled: pl.DataFrame,
    validation: pl.DataFrame | None = None,
    labels: tuple[str, ...] = LABELS,
    task: Task | str = "classify",
) -> Lesson:
    """What there is to learn from, the unlabelled records in a file each."""
    paths = tuple(stored(one, folder / f"u{at}.parquet") for at, one in enumerate(unlabelled))
    named = task_named(task) if isinstance(task, str) else task
    validation = reviews(60, 2) if validation is None else validation
    return Lesson(train, validation, labels, named, paths)
