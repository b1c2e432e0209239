"""Traces: a span for each request, and in it spans of waiting, computing and committing.

They are made when the request is over, from the times that were noted while it was answered; a
process without traces does nothing for them. No attribute holds an input, an answer or a key.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from feilun.core.errors import Missing
from feilun.core.i18n import _
from feilun.service.telemetry.asked import Asked
from feilun.version import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

_NANO = 1_000_000_000


class TracesMissing(Missing):
    """The settings want traces, and the packages that send them are not installed."""

    def __init__(self) -> None:
        super().__init__(
            _("[serve.telemetry] traces needs OpenTelemetry, which is not installed."),
            remedy="pip install 'feilun[otel]'",
        )


class Finished(NamedTuple):
    """A request that was answered: `parent` and `state` are its headers `traceparent` and
    `tracestate`; `began` and `ended` as `time.perf_counter` counts; `code` of its error."""

    method: str
    route: str
    status: int
    began: float
    ended: float
    code: str
    parent: str | None
    state: str | None


class Traces:
    """Hands spans to `processor`; `share` of those that no caller decided about."""

    def __init__(self, processor: SpanProcessor, share: float) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource.create({"service.name": "feilun", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("feilun", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Sends what waits, then stops."""
        self._provider.shutdown()

    def record(self, asked: Asked, finished: Finished) -> None:
        """Makes the spans of a request."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        # Spans are told the time of day; what was measured is a steady clock.
        offset = time.time_ns() - int(time.perf_counter() * _NANO)
        carried = {"traceparent": finished.parent or "", "tracestate": finished.state or ""}
        context = self._propagator.extract(carried) if finished.parent else None
        attributes: dict[str, Any] = {
            "http.request.method": finished.method,
            "http.route": finished.route,
            "http.response.status_code": finished.status,
            "feilun.request": asked.id,
        }
        if asked.shown != asked.id:
            attributes["feilun.request_id"] = asked.shown
        if finished.code:
            attributes["error.type"] = finished.code
        span = self._tracer.start_span(
            f"{finished.method} {finished.route}",
            context=context,
            kind=SpanKind.SERVER,
            attributes=attributes,
            start_time=offset + int(finished.began * _NANO),
        )
        inside = set_span_in_context(span)
        for name, began, ended in asked.steps:
            self._tracer.start_span(
                name, context=inside, start_time=offset + int(began * _NANO)
            ).end(offset + int(ended * _NANO))
        if finished.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(offset + int(finished.ended * _NANO))


def open_traces(endpoint: str | None, share: float) -> Traces | None:
    """Traces that go to the collector at `endpoint`; None without one. Raises `TracesMissing`."""
    if endpoint is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise TracesMissing() from None
    path = "" if endpoint.rstrip("/").endswith("/v1/traces") else "/v1/traces"
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + path, timeout=5)
    return Traces(BatchSpanProcessor(exporter), share)
