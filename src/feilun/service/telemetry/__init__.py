"""What the service says of itself: request ids, logs, traces; metrics are in `metrics.py`."""

from feilun.service.telemetry.asked import Asked, asked_now, begin, request_id, step

__all__ = ["Asked", "asked_now", "begin", "request_id", "step"]
