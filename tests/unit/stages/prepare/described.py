"""A small dataset in a folder, and its facts, for the tests of what describes it."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from feilun.core.artifacts import SPLITS
from feilun.core.records import DROPPED, conform, parquet
from feilun.core.text import hashed
from feilun.stages.prepare.facts import Facts, File

MADE_BY: dict[str, Any] = {
    "use": "prepare",
    "steps": [
        {"use": "normalise"},
        {"use": "mask", "mode": "placeholder", "key": None},
        {"use": "augment", "endpoint": "http://10.0.0.7/v1", "token": "env:LLM", "share": 0.5},
    ],
    "split": {"test": 0.2, "near_duplicates": 0.7},
}


def frame(split: str, count: int, first: int = 1) -> pl.DataFrame:
    """`count` records: labels alternate, every third one has spans, the first has no text."""
    numbers = range(first, first + count)
    spans = [
        [{"start": 0, "end": 2, "label": "物"}, {"start": 3, "end": 4, "label": "人"}]
        if number % 3 == 0
        else ([] if number % 3 == 1 else None)
        for number in numbers
    ]
    made = conform(
        pl.DataFrame(
            {
                "text": [None if n == first else f"{split} 文本 {n}" for n in numbers],
                "label": [None if split == "unlabelled" else "好" if n % 2 else "坏"
                          for n in numbers],
                "source": ["data/评论.csv"] * count,
                "row": list(numbers),
                "spans": spans,
                "time": [datetime(2026, 1, 1, n % 24, tzinfo=UTC) for n in numbers],
                "fields": ['{"stars": 3}'] * count,
            },
            schema_overrides={"text": pl.String, "label": pl.String, "spans": pl.List(
                pl.Struct({"start": pl.Int64, "end": pl.Int64, "label": pl.String}))},
        )
    )  # fmt: skip
    return made.with_columns(hashed(made["text"]).alias("key"))


def facts(folder: Path, **other: Any) -> Facts:
    """Writes the Parquet files into `folder`; train is in two shards."""
    frames = {
        "train-00000": frame("train", 5),
        "train-00001": frame("train", 4, first=6),
        "validation": frame("validation", 2),
        "test": frame("test", 3),
        "unlabelled": frame("unlabelled", 1).clear(),
        "dropped": frame("dropped", 2).with_columns(
            step=pl.lit("duplicates"), reason=pl.lit("duplicate"), detail=pl.lit(None, pl.String)
        ).select(DROPPED.names()),
    }  # fmt: skip
    files = {}
    for name, content in frames.items():
        made = parquet(content)
        (folder / f"{name}.parquet").write_bytes(made)
        files[f"{name}.parquet"] = File(hashlib.sha256(made).hexdigest(), len(made))
    known: dict[str, Any] = {
        "name": "评论 reviews",
        "splits": dict(zip(SPLITS, (9, 2, 3, 0), strict=True)),
        "labels": ("坏", "好"),
        "num_raw": 16,
        "dropped": {"duplicate": 2},
        "made_by": MADE_BY,
        "files": files,
        "balance": {"train": {"好": 5, "坏": 4}, "validation": {"好": 1, "坏": 1},
                    "test": {"好": 2, "坏": 1}},
        "found": {"masked.mobile": 3, "masked.email": 1, "language.zh": 12, "language.en": 2},
        "sources": {"data/评论.csv": 16},
    }  # fmt: skip
    return Facts(**known | other)
