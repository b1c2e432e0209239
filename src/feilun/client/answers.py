"""What a service answers, typed; fields that a newer service adds are kept, not refused."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Reason = str | None
"""Why there is no answer: `empty`, `unknown`, or a later service's word."""


class _Answered(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())


class _One(_Answered):
    """What every result has: the id that feedback refers to, how sure the model is, and why
    there is no answer, where there is none."""

    id: str
    score: float
    reason: Reason = None


class Classified(_One):
    """The label of a text; of a project whose texts may have several, `labels` instead."""

    label: str | None = None
    labels: list[str] | None = None
    scores: dict[str, float]


class EntityFound(_Answered):
    """A stretch of the text, in code points: `text[start:end]`."""

    start: int
    end: int
    label: str
    score: float


class Tagged(_One):
    """The entities in a text, by their start."""

    entities: list[EntityFound] | None


class Compared(_One):
    """Whether two texts go together; `similarity` is the probability that they do."""

    label: str | None
    scores: dict[str, float]
    similarity: float


class Valued(_One):
    """A number, with the ends of the interval that holds nine in ten of them."""

    value: float | None
    low: float | None
    high: float | None


class Figure(_Answered):
    """A metric with the ends of its interval."""

    value: float
    low: float
    high: float


class ModelInfo(_Answered):
    """One model of the project, with its figures on the frozen test."""

    id: str
    created: int
    number: int
    architecture: str
    live: bool
    metrics: dict[str, Figure]


class LineCounts(_Answered):
    """Of a batch's lines: all, those answered, and those answered with an error."""

    total: int
    done: int
    failed: int


class Batch(_Answered):
    """A batch as it stands; times in seconds since 1970."""

    id: str
    task: str
    status: Literal["queued", "running", "completed", "cancelled", "failed"]
    created_at: float
    started_at: float | None
    ended_at: float | None
    lines: LineCounts
    input_bytes: int

    @property
    def ended(self) -> bool:
        """Whether nothing more is done on it."""
        return self.status not in {"queued", "running"}


class LineResponse(_Answered):
    """What the task's own route would have answered to a line."""

    status_code: int
    request_id: str
    body: dict[str, Any]


class LineError(_Answered):
    """Why a line could not be answered."""

    code: str
    message: str
    remedy: str | None = None


class BatchLine(_Answered):
    """What became of one line of a batch: `custom_id` is the `id` it came with."""

    id: str | None
    custom_id: str | None
    line: int
    response: LineResponse | None
    error: LineError | None
