"""The columns that records have on their way from a source to a model."""

from __future__ import annotations

import hashlib
import io

import polars as pl

SCHEMA = pl.Schema(
    {
        "id": pl.String(),  # 16 hex digits: the same text and label have the same id
        "text": pl.String(),
        "label": pl.String(),  # null: not labelled
        "source": pl.String(),  # `data/reviews.csv`, `feedback`
        "row": pl.Int64(),  # its place in the source, from 1
    }
)
"""Raw records. `prepare` adds `key`: the text's form in which twins are equal."""

FEEDBACK_SOURCE = "feedback"


def with_ids(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` (columns `text`, `label`, `source`, `row`) with `id`, in the order of `SCHEMA`."""
    content = pl.concat_str(
        [pl.col("text").fill_null(""), pl.col("label").fill_null("")], separator="\x00"
    )
    hashed = content.map_batches(_digests, return_dtype=pl.String)
    return frame.with_columns(hashed.alias("id")).select(SCHEMA.names())


def _digests(values: pl.Series) -> pl.Series:
    # Polars' own hash is not promised to stay the same between its versions.
    return pl.Series(
        [hashlib.blake2b(value.encode(), digest_size=8).hexdigest() for value in values]
    )


def parquet(frame: pl.DataFrame) -> bytes:
    """`frame` as the bytes of a Parquet file; equal frames give equal bytes."""
    target = io.BytesIO()
    frame.write_parquet(target, compression="zstd", statistics=False)
    return target.getvalue()
