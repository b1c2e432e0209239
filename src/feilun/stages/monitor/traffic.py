"""Requests, latency, errors."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.stages.monitor.detector import Detector, Level, Signal, Window


class Traffic(Detector):
    """How many requests and predictions, how long they took, and what share failed.

    A failure is a request answered with a 5xx status; a request that was refused for what was
    in it (4xx) is counted apart.
    """

    use: ClassVar[str] = "traffic"

    max_p99_ms: float = Field(1000.0, gt=0, description="above it: a warning")
    max_error_share: float = Field(0.01, ge=0, le=1, description="of requests; above it: a warning")

    def detect(self, window: Window) -> list[Signal]:
        usage = window.usage
        requests = usage.requests + usage.failed
        share = usage.failed / requests if requests else 0.0
        return [
            _signal("requests", requests, N_("requests: {value:.0f}")),
            _signal("predictions", usage.predictions, N_("predictions: {value:.0f}")),
            _signal("refused", usage.refused, N_("refused (4xx): {value:.0f}")),
            _signal(
                "latency_p50_ms", usage.latency_p50_ms, N_("half answered within {value:.1f} ms")
            ),
            _signal(
                "latency_p99_ms",
                usage.latency_p99_ms,
                N_("99 % answered within {value:.1f} ms; the limit is {limit} (max_p99_ms)"),
                self.max_p99_ms,
            ),
            _signal(
                "error_share",
                share,
                N_("{value:.2%} failed (5xx); the limit is {limit} (max_error_share)"),
                self.max_error_share,
            ),
        ]


def _signal(name: str, value: float, template: str, limit: float | None = None) -> Signal:
    loud = limit is not None and value > limit
    message = Message(template=template, values={"value": value, "limit": limit})
    return Signal(name, float(value), Level.WARNING if loud else Level.OK, message)
