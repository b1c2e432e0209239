"""What Prometheus is told; every label has a bounded number of values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from feilun.service.histogram import Seconds
from feilun.service.live import Live
from feilun.store.events import ExchangeRow
from feilun.store.events.exchanges import CACHED

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_LABEL = ""
_NO_LABELS = [NO_LABEL]
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The figures of one process, in a registry of its own."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._registry = CollectorRegistry()
        # To name a figure takes longer than to raise it.
        self._of_requests: dict[tuple[str, str, int], Counter] = {}
        self._of_labels: dict[str, Counter] = {}
        self._requests = Counter(
            "feilun_requests",
            "Requests by route and status",
            ["route", "method", "status"],
            registry=self._registry,
        )
        self._seconds = Seconds(
            "feilun_request_seconds",
            "Seconds from the request's head to the end of the answer",
            "route",
            _SECONDS,
        )
        self._registry.register(self._seconds)
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

        self._chats = Counter(
            "feilun_gateway_chats",
            "Chats that the gateway was sent, by how they ended",
            ["outcome"],
            registry=self._registry,
        )
        self._tokens = Counter(
            "feilun_gateway_tokens",
            "Tokens that were paid for, estimates among them",
            ["kind"],
            registry=self._registry,
        )
        self._chat_cost = Counter(
            "feilun_gateway_cost",
            "Cost of the gateway's chats, in the project's currency",
            registry=self._registry,
        )
        self._steps = Seconds(
            "feilun_step_seconds",
            "Seconds of a request in the queue, in the engine, and until it was durable (commit)",
            "step",
            _SECONDS,
        )
        self._registry.register(self._steps)
        self._batch_texts = Histogram(
            "feilun_batch_texts",
            "Texts that the engine answered at once",
            buckets=_TEXTS,
            registry=self._registry,
        )
        live.engine.watch = self._batch_texts.observe
        self._swaps = Counter(
            "feilun_swaps", "Times that another model became live here", registry=self._registry
        )
        self._swaps_before = 0
        self._waiting = Gauge(
            "feilun_deliveries_waiting",
            "Messages that wait to be sent, by channel",
            ["channel"],
            registry=self._registry,
        )
        self._dead = Gauge(
            "feilun_deliveries_dead",
            "Messages that were given up and are kept, by channel",
            ["channel"],
            registry=self._registry,
        )
        self._deliveries = Counter(
            "feilun_deliveries",
            "Tries to send a message, by channel and outcome (delivered, failed, dead)",
            ["channel", "outcome"],
            registry=self._registry,
        )
        self._registry.register(live.rollbacks)
        self._alerts = Gauge("feilun_alerts_open", "Alerts that are open", registry=self._registry)

    def answered(
        self, route: str, method: str, status: int, seconds: float, count: int = 1
    ) -> None:
        """Counts a request, or several alike."""
        named = route, method, status
        found = self._of_requests.get(named)
        if found is None:
            found = self._of_requests[named] = self._requests.labels(route, method, str(status))
        found.inc(count)
        self._seconds.observe(route, seconds, count)

    def predicted(self, labels: list[str]) -> None:
        """Counts the labels in one answer, or that it had none."""
        for label in labels or _NO_LABELS:
            found = self._of_labels.get(label)
            if found is None:
                found = self._of_labels[label] = self._predictions.labels(label)
            found.inc()

    def chatted(self, row: ExchangeRow) -> None:
        """Counts a chat that has come to its end, whichever; called from any thread."""
        self._chats.labels(row.outcome).inc()
        if row.outcome != CACHED:
            self._tokens.labels("prompt").inc(row.prompt_tokens)
            self._tokens.labels("completion").inc(row.completion_tokens)
            self._chat_cost.inc(row.cost)

    def step(self, name: str, seconds: float) -> None:
        """Counts a part of answering a request: `queue`, `engine`, `commit`."""
        self._steps.observe(name, seconds)

    def waiting(self, channel: str, waiting: int, dead: int) -> None:
        """So many messages wait for the channel, and so many were given up."""
        self._waiting.labels(channel).set(waiting)
        self._dead.labels(channel).set(dead)

    def sent(self, channel: str, outcome: str) -> None:
        """Counts one try to send a message."""
        self._deliveries.labels(channel, outcome).inc()

    def alerts(self, count: int) -> None:
        """So many alerts are open now."""
        self._alerts.set(count)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        self._swaps.inc(self._live.swaps - self._swaps_before)
        self._swaps_before = self._live.swaps
        self._model.clear()
        if self._live.model is not None:
            model = self._live.model
            self._model.labels(model.digest, model.architecture).set(1)
        return generate_latest(self._registry)
