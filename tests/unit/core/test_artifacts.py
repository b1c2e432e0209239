"""Artifacts: the digest covers what they are and how they were made, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from feilun.core.artifacts import (
    Artifact,
    Candidate,
    Dataset,
    Gain,
    Interval,
    Model,
    Records,
    Report,
    Verdict,
)
from feilun.core.message import Message
from feilun.core.refs import KINDS

RECORDS = Records(files={"records.parquet": "a" * 64}, num_rows=2, sources={"x.csv": 2})
DATASET = Dataset(
    files={"train.parquet": "b" * 64},
    parents=(RECORDS.digest,),
    made_by={"use": "prepare"},
    labels=("好", "差"),
    splits={"train": 2},
    num_raw=3,
    dropped={"duplicate": 1},
    balance={"train": {"好": 1, "差": 1}},
)
MODEL = Model(
    files={"model.safetensors": "c" * 64},
    parents=(DATASET.digest,),
    task="classify",
    architecture="ngram",
    labels=("好", "差"),
    validation={"accuracy": 0.5},
    candidates=(
        Candidate(architecture="ngram", settings={"bits": 14}, score=0.5),
        Candidate(architecture="x", left_out=Message(template="{a}", values={"a": 1})),
    ),
)
REPORT = Report(
    files={"outcomes.parquet": "d" * 64},
    model=MODEL.digest,
    test="e" * 64,
    num_test=4,
    confidence=0.95,
    metrics={"accuracy": Interval(0.5, 0.1, 0.9)},
    per_label={"好": {"f1": Interval(0.5, 0.0, 1.0)}},
    confusion={"好": {"差": 1}},
)
ALL: list[Artifact] = [RECORDS, DATASET, MODEL, REPORT]


def test_there_is_a_class_for_every_kind() -> None:
    assert tuple(a.kind for a in ALL) == KINDS


@pytest.mark.parametrize("artifact", ALL, ids=lambda a: a.kind)
def test_what_is_written_down_is_restored_with_the_same_digest(artifact: Artifact) -> None:
    import json

    again = Artifact.restore(artifact.kind, json.loads(artifact.model_dump_json()))
    assert again == artifact
    assert again.digest == artifact.digest
    assert artifact.digest.removeprefix("sha256:")[:12] == artifact.short


def test_the_digests_stay_what_they_were() -> None:
    """A change here orphans everything that was ever stored."""
    assert RECORDS.digest == GOLDEN


GOLDEN = "sha256:a565105aa658e6d530e6825cebb137af193a34b87791e3220d272ce1c100363e"


CHANGES: list[tuple[Artifact, dict[str, Any]]] = [
    (RECORDS, {"files": {"records.parquet": "f" * 64}}),
    (RECORDS, {"files": {"other.parquet": "a" * 64}}),
    (RECORDS, {"parents": ("sha256:00",)}),
    (RECORDS, {"made_by": {"use": "collect"}}),
    (RECORDS, {"num_rows": 3}),
    (RECORDS, {"sources": {"y.csv": 2}}),
    (DATASET, {"labels": ("差", "好")}),
    (DATASET, {"dropped": {}}),
    (DATASET, {"balance": {}}),
    (MODEL, {"architecture": "transformer"}),
    (MODEL, {"validation": {"accuracy": 0.6}}),
    (MODEL, {"candidates": ()}),
    (REPORT, {"confidence": 0.9}),
    (REPORT, {"live": MODEL.digest}),
    (REPORT, {"metrics": {"accuracy": Interval(0.5, 0.1, 0.8)}}),
]


@pytest.mark.parametrize(("artifact", "change"), CHANGES)
def test_every_field_changes_the_digest(artifact: Artifact, change: dict[str, Any]) -> None:
    changed = Artifact.restore(artifact.kind, artifact.model_dump() | change)
    assert changed.digest != artifact.digest


def test_the_order_of_keys_does_not_change_the_digest() -> None:
    one = Records(files={"a": "1", "b": "2"}, num_rows=1, sources={"x": 1, "y": 2})
    two = Records(files={"b": "2", "a": "1"}, num_rows=1, sources={"y": 2, "x": 1})
    assert one.digest == two.digest


def test_the_kind_is_part_of_the_digest() -> None:
    class Other(Records):
        kind = "other"

    assert Other(**RECORDS.model_dump()).digest != RECORDS.digest


def test_artifacts_cannot_be_changed_and_take_no_unknown_field() -> None:
    with pytest.raises(ValidationError):
        RECORDS.num_rows = 9  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Records.model_validate({**RECORDS.model_dump(), "more": 1})
    with pytest.raises(KeyError):
        Artifact.restore("nothing", {})


def test_a_verdict_is_restored_from_json() -> None:
    gain = Gain(metric="accuracy", against="live", delta=0.1, low=0.0, high=0.2)
    verdict = Verdict(released=True, reasons=(Message(template="x"),), gain=gain)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
