"""The columns that records have on their way from a source to a model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl

SPANS = pl.List(pl.Struct({"start": pl.Int64(), "end": pl.Int64(), "label": pl.String()}))
"""Ranges of `text`, in code points, the end exclusive: entities, or the parts of a record that
has several (the turns of a chat by their role; prompt, chosen, rejected)."""

SCHEMA = pl.Schema(
    {
        "id": pl.String(),  # 16 hex digits: the same content has the same id
        "text": pl.String(),  # null: it has none (an image, a row of a table)
        "label": pl.String(),  # null: not labelled
        "source": pl.String(),  # `data/reviews.csv`, `feedback`
        "row": pl.Int64(),  # its place in the source, from 1
        "spans": SPANS,
        "group": pl.String(),  # what must stay on one side of a split: a user, a conversation
        "time": pl.Datetime("us", "UTC"),
        "fields": pl.String(),  # everything else, a JSON object: features, user and item, image
    }
)
"""Raw records. `prepare` adds `key`: a hash that twins share (UInt64)."""

DROPPED = pl.Schema({**SCHEMA, "step": pl.String(), "reason": pl.String(), "detail": pl.String()})
"""Records that were dropped; `reason` is a code, `detail` says more: the id of the one kept."""

FEEDBACK_SOURCE = "feedback"
PREDICTIONS_SOURCE = "predictions"
GATEWAY_SOURCE, TEACHER_SOURCE = "gateway", "teacher"
"""Answers of a hosted model: measured on where there is nothing better, or learnt from alone."""
LEARNT_ONLY = (FEEDBACK_SOURCE, PREDICTIONS_SOURCE, TEACHER_SOURCE)
"""Sources that are never measured on: what users chose to rate, and what a model answered."""
MOST_ROWS = 2**17
"""In one file of records: a shard, what memory holds at a time."""
MOST_BYTES = 64_000_000
"""Of text in one file of records, about."""
CONTENT = ("text", "label", "spans", "fields")
"""What makes a record what it is: where it stood, and when, does not."""


def conform(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with every column of `SCHEMA`, in its order and types; what is missing is null,
    but for `id`, which is the digest of the content."""
    for name, kind in SCHEMA.items():
        if name not in frame.columns and name != "id":
            frame = frame.with_columns(pl.lit(None, dtype=kind).alias(name))
    if "id" not in frame.columns:
        frame = frame.with_columns(_identity(frame).alias("id"))
    return frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _identity(frame: pl.DataFrame) -> pl.Series:
    spans = frame["spans"].cast(SPANS)
    written = pl.col("spans").cast(SPANS)
    parts = [pl.col(name).cast(pl.String).fill_null("") for name in ("text", "label")]
    if spans.null_count() < frame.height or frame["fields"].null_count() < frame.height:
        # JSON of a struct of lists is the same text for the same spans.
        packed = pl.struct(written.alias("spans")).struct.json_encode()
        more = pl.when(written.is_not_null()).then(packed).otherwise(pl.lit(""))
        both = pl.concat_str([more, pl.col("fields").fill_null("")], separator="\x00")
        parts.append(pl.when(both == "\x00").then(pl.lit(None)).otherwise(both))
    content = pl.concat_str(parts, separator="\x00", ignore_nulls=True)
    return frame.select(content.map_batches(_digests, return_dtype=pl.String)).to_series()


def _digests(values: pl.Series) -> pl.Series:
    # Polars' own hash is not promised to stay the same between its versions.
    return pl.Series(
        [hashlib.blake2b(value.encode(), digest_size=8).hexdigest() for value in values],
        dtype=pl.String,
    )


def as_dropped(frame: pl.DataFrame, step: str, reason: str) -> pl.DataFrame:
    """The records of `frame` in the columns of `DROPPED`; its own `detail` is kept."""
    detail = pl.col("detail") if "detail" in frame.columns else pl.lit(None)
    return frame.select(
        *SCHEMA.names(),
        pl.lit(step).alias("step"),
        pl.lit(reason).alias("reason"),
        detail.cast(pl.String).alias("detail"),
    )


def id_numbers(ids: pl.Expr) -> pl.Expr:
    """Ids as numbers (UInt64): a quarter of the memory."""
    return ids.str.decode("hex").bin.reinterpret(dtype=pl.UInt64, endianness="big")


def id_texts(numbers: pl.Series) -> pl.Series:
    """The ids that `id_numbers` made numbers of; null stays null."""
    given = numbers.fill_null(0).to_numpy().astype(">u8").view(np.uint8).reshape(-1, 8)
    digits = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
    written = np.stack([digits[given >> 4], digits[given & 15]], axis=-1).reshape(-1, 16)
    texts = pl.Series(numbers.name, np.ascontiguousarray(written).view("S16").ravel())
    return texts.cast(pl.String).set(numbers.is_null(), None)


def parquet(frame: pl.DataFrame) -> bytes:
    """`frame` as the bytes of a Parquet file; equal frames give equal bytes."""
    target = io.BytesIO()
    frame.write_parquet(target, compression="zstd", statistics=False)
    return target.getvalue()


class ShardWriter:
    """Frames in, stored Parquet files out, each of a size that memory holds with ease.

    A file has at most `MOST_ROWS` rows, and about `MOST_BYTES` of text.
    """

    def __init__(self, keep: Callable[[bytes], str]) -> None:
        self._keep = keep
        self._waiting: list[pl.DataFrame] = []
        self._num_rows = 0
        self._num_bytes = 0
        self._kept: list[str] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Takes the rows of one more frame (the columns of the others)."""
        while frame.height:
            part = frame.head(MOST_ROWS - self._num_rows)
            frame = frame.slice(part.height)
            self._waiting.append(part)
            self._num_rows += part.height
            self._num_bytes += text_bytes(part)
            if self._num_rows >= MOST_ROWS or self._num_bytes >= MOST_BYTES:
                self._write()

    def close(self, empty: pl.DataFrame | None = None) -> tuple[str, ...]:
        """The sha256 of every file; without any row one of `empty`, if it is given."""
        if self._waiting or (empty is not None and not self._kept):
            self._waiting = self._waiting or [cast(pl.DataFrame, empty)]
            self._write()
        return tuple(self._kept)

    def _write(self) -> None:
        self._kept.append(self._keep(parquet(pl.concat(self._waiting))))
        self._waiting, self._num_rows, self._num_bytes = [], 0, 0


def text_bytes(frame: pl.DataFrame) -> int:
    """The size of the frame's texts and fields in UTF-8."""
    sizes = frame.select(pl.col("text", "fields").str.len_bytes().fill_null(0).sum())
    return int(sizes.sum_horizontal().item())


def read_shards(paths: Iterable[Path], columns: list[str] | None = None) -> pl.DataFrame:
    """Every row of the Parquet files, in order; of all columns or some."""
    return pl.concat([pl.read_parquet(path, columns=columns) for path in paths])
