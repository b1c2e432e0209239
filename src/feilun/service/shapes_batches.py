"""What a batch's answers look like."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from feilun.core.i18n import N_


class LineCounts(BaseModel):
    """Of the lines with content: all, those answered, and those answered with an error."""

    total: int = Field(ge=0, examples=[1000])
    done: int = Field(ge=0, examples=[640])
    failed: int = Field(ge=0, examples=[2])


class BatchAnswer(BaseModel):
    """A batch as it stands; times in seconds since 1970."""

    id: str = Field(examples=["b_01a200d5f685b3e20c7b877"])
    object: Literal["batch"] = "batch"
    task: str = Field(examples=["classify"])
    status: Literal["queued", "running", "completed", "cancelled", "failed"] = Field(
        description=N_("`failed`: its input was lost or damaged on the server")
    )
    created_at: float = Field(examples=[1795310132.0])
    started_at: float | None = None
    ended_at: float | None = None
    lines: LineCounts
    input_bytes: int = Field(ge=0)


class BatchList(BaseModel):
    """The newest batches of the key, newest first."""

    object: Literal["list"] = "list"
    data: list[BatchAnswer]
