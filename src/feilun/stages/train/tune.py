"""`[train.tune]`: what `feilun tune` tries. It is no part of what training makes: another space
to search trains nothing anew."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from feilun.models.space import Axis


class Tune(BaseModel):
    """What is tried, how often and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(30, ge=1, le=100_000, description="how many settings are tried in all")
    seconds: float | None = Field(
        None, gt=0, description="after which no more is tried in one go; left out: no limit"
    )
    workers: int = Field(1, ge=1, le=256, description="processes that try at the same time")
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tpe: near what did well so far; random: anywhere"
    )
    pruner: Literal["median", "hyperband", "none"] = Field(
        "median",
        description="ends early what falls behind: below the median of the others at that "
        "point; by hyperband's schedule; never",
    )
    metric: str | None = Field(
        None, description="what is to be good on the validation split; left out: as for [train]"
    )
    space: dict[str, Axis] = Field(
        {},
        description="settings of [train] model: a list of values, or low and high (log, step); "
        "left out: the family's own choice",
    )
