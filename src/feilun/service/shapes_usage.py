"""What GET /v1/usage answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from feilun.core.i18n import N_


class UsageDay(BaseModel):
    """What one key used on one day."""

    day: str = Field(description=N_("in UTC"), examples=["2026-11-22"])
    requests: int = Field(ge=0)
    predictions: int = Field(ge=0)
    characters: int = Field(ge=0)
    tokens: int = Field(ge=0)
    cost: float = Field(ge=0)


class UsageEntry(BaseModel):
    """What one key used."""

    key: str = Field(description=N_("the key's id"), examples=["3f9c0a61b2d4"])
    name: str = Field(examples=["shop"])
    open: bool = Field(description=N_("false: revoked or expired"))
    requests: int = Field(ge=0, description=N_("answered requests"))
    predictions: int = Field(ge=0)
    characters: int = Field(ge=0, description=N_("of the inputs"))
    tokens: int = Field(ge=0, description=N_("where another server counted them"))
    cost: float = Field(ge=0)
    left: int | None = Field(
        description=N_("predictions that are left this month (UTC); null: no limit")
    )
    cost_left: float | None = Field(description=N_("what is left to spend this month (UTC)"))
    last_used: float | None = Field(description=N_("seconds since 1970, to the minute"))
    days: list[UsageDay] = Field(description=N_("oldest first; days without use are left out"))


class UsageList(BaseModel):
    """A key's usage, or that of all keys."""

    object: Literal["list"] = "list"
    data: list[UsageEntry]
