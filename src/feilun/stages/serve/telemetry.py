"""What the service says of itself while it runs."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Telemetry(BaseModel):
    """Logs and traces; metrics are always there, at `/metrics`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    log: Literal["text", "json"] = Field(
        "text", description="json: a JSON object on each line, for programs"
    )
    log_requests: Literal["none", "failed", "all"] = Field(
        "failed", description="requests that get a line; failed: answered with 400 or more"
    )
    traces: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="an OpenTelemetry collector (OTLP over HTTP), such as "
        "`http://127.0.0.1:4318`; needs the extra `otel`; left out: no traces",
    )
    trace_share: float = Field(
        0.1, ge=0, le=1, description="of the requests that are traced, unless the caller decides"
    )
