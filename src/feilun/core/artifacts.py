"""What the stages make: immutable, named by the digest of their content.

`digest` covers what the artifact is and how it was made (files, facts, parents, settings);
it does not cover when, how fast or at what cost, so the same work gives the same name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, JsonValue

from feilun.core.message import Message
from feilun.core.refs import KINDS

_SHARD = re.compile(r"-\d{5}\.parquet$")

Asked = str | dict[str, JsonValue]
"""A task as it is written down (`feilun.tasks.Task.named`): its name, or a table with settings."""


class Cost(BaseModel):
    """What one stage took; `spent` holds what the stage itself counted (records, tokens…).

    `energy_wh` are watt-hours: of the whole machine where `energy_measured`, else assumed by
    processor seconds (`feilun.economics.energy`). `co2_g` are grams, only where `[economics]`
    declares a region.
    """

    model_config = ConfigDict(frozen=True)

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_mb: float = 0.0
    energy_wh: float = 0.0
    energy_measured: bool = False
    co2_g: float | None = None
    spent: dict[str, float] = {}


class Artifact(BaseModel):
    """The common part: stored files by name → sha256, parents' digests, the settings used."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]
    later: ClassVar[tuple[str, ...]] = ()
    """Fields that came after the first artifacts were stored: at their default they do not
    count, so that what was stored keeps its digest."""

    files: dict[str, str]
    parents: tuple[str, ...] = ()
    made_by: dict[str, JsonValue] = {}

    @cached_property
    def digest(self) -> str:
        """`sha256:` and 64 hex digits, over the canonical JSON of every field."""
        fields = type(self).model_fields
        defaults = {n for n in self.later if getattr(self, n) == fields[n].get_default()}
        content = {"kind": self.kind, **self.model_dump(mode="json", exclude=defaults)}
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    @property
    def short(self) -> str:
        """The first twelve hex digits of the digest, for people."""
        return self.digest.removeprefix("sha256:")[:12]

    def shards(self, name: str) -> tuple[str, ...]:
        """The sha256 of each Parquet file that holds `name`, in order: one, `train.parquet`, or
        where one would be too large `train-00000.parquet`, `train-00001.parquet`…"""
        whole = self.files.get(f"{name}.parquet")
        if whole is not None:
            return (whole,)
        found = sorted(file for file in self.files if _SHARD.sub("", file) == name)
        return tuple(self.files[file] for file in found)

    @classmethod
    def restore(cls, kind: str, content: dict[str, Any]) -> Artifact:
        """The artifact that `model_dump` wrote down."""
        return _CLASSES[kind].model_validate(content)


def sharded(name: str, digests: Sequence[str]) -> dict[str, str]:
    """The `files` of an artifact for `name`, as `Artifact.shards` finds them."""
    if len(digests) == 1:
        return {f"{name}.parquet": digests[0]}
    return {f"{name}-{number:05}.parquet": digest for number, digest in enumerate(digests)}


class Collected(BaseModel):
    """One piece of a source as it was read: a file, what a table had that was new.

    `source` is the digest of the source's settings, `identity` that of what was read; a piece
    with both known is not read again. `files` are those (by sha256) that hold its records, and
    `dropped` those with the rows that could not be read, which `unreadable` counts by reason.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    name: str
    identity: str
    num_rows: int
    files: tuple[str, ...]
    watermark: str | None = None
    dropped: tuple[str, ...] = ()
    unreadable: dict[str, int] = {}


class Records(Artifact):
    """Raw records in `records.parquet` (columns: `feilun.core.records.SCHEMA`), and in
    `dropped.parquet` what could not be read or was not agreed on, with the reasons."""

    kind = "records"
    later = ("pieces", "unreadable")

    num_rows: int
    sources: dict[str, int] = {}
    pieces: tuple[Collected, ...] = ()
    unreadable: dict[str, int] = {}


SPLITS = ("train", "validation", "test", "unlabelled")
"""The sides of a dataset, in the order in which they are shown."""


class StepCount(BaseModel):
    """What one step of preparing did: records in and out, texts changed, drops by reason."""

    model_config = ConfigDict(frozen=True)

    step: str
    before: int
    after: int
    changed: int = 0
    dropped: dict[str, int] = {}


class Dataset(Artifact):
    """Prepared records: Parquet files for each split, and `dropped` with the reasons.

    Splits are `train`, `validation`, `test` (frozen) and `unlabelled`; each has the columns
    of `Records` plus `key`, a hash that twins share. `dropped` has `step`, `reason`
    and `detail` besides. `found` is what the steps counted (`masked.mobile`, `language.zh`).
    """

    kind = "dataset"
    later = ("funnel", "found", "task")

    labels: tuple[str, ...]
    splits: dict[str, int]
    num_raw: int
    dropped: dict[str, int]
    balance: dict[str, dict[str, int]] = {}
    funnel: tuple[StepCount, ...] = ()
    found: dict[str, float] = {}
    task: Asked = "classify"


class Candidate(BaseModel):
    """One thing `train` tried: its settings, its validation score, or why it was left out."""

    model_config = ConfigDict(frozen=True)

    architecture: str
    settings: dict[str, JsonValue] = {}
    score: float | None = None
    left_out: Message | None = None


class Model(Artifact):
    """A trained model; `files` are those of its folder (design: Hugging Face layout)."""

    kind = "model"

    task: Asked
    architecture: str
    labels: tuple[str, ...]
    metric: str = "accuracy"
    validation: dict[str, float] = {}
    candidates: tuple[Candidate, ...] = ()
    chosen_because: Message | None = None


class Interval(NamedTuple):
    """A figure with the ends of its confidence interval."""

    value: float
    low: float
    high: float


class Report(Artifact):
    """What a model is worth on the frozen test.

    `outcomes.parquet` has a row per test record: `id`, `truth`, `predicted`, and `live`, what
    the model that was live answered (absent when none was); `level` of a cascade, who answered.
    """

    kind = "report"

    model: str
    test: str
    num_test: int
    confidence: float
    metrics: dict[str, Interval]
    per_label: dict[str, dict[str, Interval]]
    confusion: dict[str, dict[str, int]]
    live: str | None = None
    live_metrics: dict[str, Interval] = {}


class Gain(BaseModel):
    """The candidate's lead over what it is compared with, from a paired bootstrap."""

    model_config = ConfigDict(frozen=True)

    metric: str
    against: str
    delta: float
    low: float
    high: float


class Verdict(BaseModel):
    """Whether a candidate may go live, every rule's reason, and the measured gain."""

    model_config = ConfigDict(frozen=True)

    released: bool
    reasons: tuple[Message, ...]
    gain: Gain | None = None


_CLASSES: dict[str, type[Artifact]] = {cls.kind: cls for cls in (Records, Dataset, Model, Report)}
assert set(_CLASSES) == set(KINDS)

__all__ = [
    "SPLITS",
    "Artifact",
    "Candidate",
    "Collected",
    "Cost",
    "Dataset",
    "Gain",
    "Interval",
    "Model",
    "Records",
    "Report",
    "StepCount",
    "Verdict",
    "sharded",
]
