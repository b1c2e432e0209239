"""What Prometheus is told; every label has a bounded number of values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from feilun.service.live import Live

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_LABEL = ""
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one process, in a registry of its own."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "feilun_requests",
            "Requests by route and status",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "feilun_request_seconds",
            "Seconds from the request's head to the end of the answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._predictions = Counter(
            "feilun_predictions",
            "Predictions by label (empty: no label was given)",
            ["label"],
            registry=self._registry,
        )
        waiting = Gauge("feilun_queue_length", "Requests that wait", registry=self._registry)
        waiting.set_function(lambda: live.engine.waiting)
        ready = Gauge("feilun_ready", "1 when requests are answered", registry=self._registry)
        ready.set_function(lambda: float(live.ready))
        refused = Gauge(
            "feilun_live_model_refused",
            "1 when what is live could not be loaded and the model before it answers",
            registry=self._registry,
        )
        refused.set_function(lambda: float(live.refused is not None))
        self._model = Gauge(
            "feilun_live_model_info",
            "The model that answers",
            ["digest", "architecture"],
            registry=self._registry,
        )

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Counts one request."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def predicted(self, labels: list[str]) -> None:
        """Counts the labels in one answer, or that it had none."""
        for label in labels or [NO_LABEL]:
            self._predictions.labels(label).inc()

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        self._model.clear()
        if self._live.model is not None:
            model = self._live.model
            self._model.labels(model.digest, model.architecture).set(1)
        return generate_latest(self._registry)
