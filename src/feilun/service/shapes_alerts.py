"""What GET /v1/alerts and GET /v1/notify answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from feilun.core.i18n import N_


class AlertEntry(BaseModel):
    """A signal that stayed loud."""

    id: str = Field(examples=["alert_01a2022f3c4d0123456789abcdef01234567"])
    name: str = Field(description=N_("the signal's name"), examples=["latency_p99_ms"])
    level: str = Field(examples=["warning"])
    value: float | None = Field(description=N_("the signal's figure when it was last heard"))
    message: str
    raised_at: float = Field(description=N_("seconds since 1970"))
    seen_at: float = Field(description=N_("when it was last loud"))
    cleared_at: float | None = Field(description=N_("null: it is open"))
    told_at: float | None = Field(description=N_("null: nobody was told (silenced, or taken on)"))
    acked_at: float | None
    acked_by: str | None = Field(description=N_("who has taken it on"))


class SilenceEntry(BaseModel):
    """Alerts that are not told for a while."""

    name: str = Field(description=N_("of alerts; * stands for anything"))
    until: float = Field(description=N_("seconds since 1970"))
    by: str
    at: float


class AlertList(BaseModel):
    """The newest alerts, newest first, and the silences that hold."""

    object: Literal["list"] = "list"
    data: list[AlertEntry]
    silences: list[SilenceEntry]


class ChannelEntry(BaseModel):
    """A channel to others, and how it is."""

    name: str = Field(examples=["crm"])
    kind: str = Field(examples=["webhook"])
    to: str = Field(examples=["https://crm.example.org"])
    events: list[str]
    waiting: int = Field(ge=0, description=N_("messages that have not arrived yet"))
    delivered: int = Field(ge=0)
    dead: int = Field(ge=0, description=N_("messages that were given up, and are kept"))
    lost: int = Field(ge=0, description=N_("messages that were not kept: too many waited"))
    tried_at: float | None = Field(description=N_("seconds since 1970"))
    error: str | None = Field(description=N_("of the last try; null: it arrived"))


class ChannelList(BaseModel):
    """The channels of the settings."""

    object: Literal["list"] = "list"
    data: list[ChannelEntry]
