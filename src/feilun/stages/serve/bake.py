"""How a model that has just gone live is watched."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Bake(BaseModel):
    """`[serve.bake]`: for how long a new live model is watched beside the one before it, and what
    makes the one before live again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = Field(
        60.0, ge=0, le=10_080, description="that a new live model is watched; 0: it never is"
    )
    errors: int = Field(
        5, ge=1, description="requests that it fails at and the model before does not, fewest"
    )
    error_share: float = Field(
        0.01, ge=0, lt=1, description="of its requests that it may fail at so"
    )
    slow_factor: float = Field(
        10.0, gt=1, description="times the model before's time for a text that it may take"
    )
    slow_ms: float = Field(500.0, gt=0, description="for a text, that is never too slow")
    answers_apart: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="share by which it may give no answer, or one answer to nearly all, more often",
    )
    false_alarms: float = Field(
        0.001, gt=0, lt=0.5, description="chance that a model is called broken by its answers alone"
    )
