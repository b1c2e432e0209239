"""When a signal becomes an alert."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Alerting(BaseModel):
    """How often the service looks at the signals, and how long one must be loud or quiet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every_minutes: float = Field(15.0, gt=0, le=1440, description="between two looks")
    raise_after: int = Field(2, ge=1, le=1000, description="loud looks in a row raise an alert")
    clear_after: int = Field(3, ge=1, le=1000, description="quiet looks in a row clear it")
