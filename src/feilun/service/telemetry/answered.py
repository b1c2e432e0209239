"""Where a request that was answered is told of: metrics, the log, traces, failures."""

from __future__ import annotations

from feilun.service.failures import Failures
from feilun.service.metrics import Metrics
from feilun.service.telemetry.asked import Asked
from feilun.service.telemetry.logs import RequestLog
from feilun.service.telemetry.traces import Finished, Traces, open_traces
from feilun.stages.serve.telemetry import Telemetry


class Teller:
    """Tells of each request once it was answered."""

    def __init__(self, settings: Telemetry, metrics: Metrics, failures: Failures) -> None:
        self._metrics = metrics
        self._failures = failures
        self._log = RequestLog(settings)
        self.traces: Traces | None = open_traces(settings.traces, settings.trace_share)

    def tell(self, asked: Asked, finished: Finished, count: int = 1) -> None:
        """Counts it, logs it if the settings want that, and makes its spans; of `count` that were
        alike, `finished` is one as they were on average."""
        seconds = finished.ended - finished.began
        self._metrics.answered(finished.route, finished.method, finished.status, seconds, count)
        for name, began, ended in asked.steps:
            self._metrics.step(name, ended - began)
        self._log.note(
            asked, finished.method, finished.route, finished.status, seconds, finished.code, count
        )
        if self.traces is not None:
            self.traces.record(asked, finished)
        if finished.status >= 400 and finished.route.startswith("/v1/"):
            self._failures.note(finished.route, finished.status, finished.code, count)

    def close(self) -> None:
        """Sends the spans that wait."""
        if self.traces is not None:
            self.traces.close()
