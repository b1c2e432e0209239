"""What the routes answer: predictions, feedback, the list of models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from feilun.core.artifacts import Model, Report
from feilun.core.errors import Conflict, Full, Invalid, NotWritable
from feilun.core.i18n import _
from feilun.service.access import Access
from feilun.service.computing import in_time
from feilun.service.errors import NotStored
from feilun.service.failures import Failures
from feilun.service.handover import settled
from feilun.service.limits import Limits
from feilun.service.live import Live
from feilun.service.metrics import Metrics
from feilun.service.repeats import Keep, Repeats
from feilun.service.shapes import FeedbackRequest
from feilun.service.telemetry import request_id, step
from feilun.stages.serve import Answered, Serve
from feilun.store.clock import new_id
from feilun.store.events import (
    Charge,
    Event,
    IdempotencyReused,
    PredictionNotFound,
    PredictionRow,
)
from feilun.tasks import jsonable, written_scores
from feilun.tasks.task import Input, num_characters
from feilun.team import Key
from feilun.wheel.predictions import feedback_row
from feilun.wheel.project import Project
from feilun.wheel.turn import LIVE

if TYPE_CHECKING:
    from feilun.service.gateway.relay import Relay

T = TypeVar("T")


class TooManyInputs(Invalid):
    """More inputs in one request than allowed."""

    def __init__(self, count: int, limit: int) -> None:
        super().__init__(
            _("The request has {count} inputs; [serve] max_inputs allows {limit}.").format(
                count=count, limit=limit
            ),
            remedy=_("Send fewer inputs at a time, or raise max_inputs in feilun.toml."),
        )


class OtherTask(Conflict):
    """The service's model does something else."""

    def __init__(self, asked: str, served: str) -> None:
        super().__init__(
            _("This service does the task '{served}', not '{asked}'.").format(
                served=served, asked=asked
            ),
            remedy=f"POST /v1/{served}",
        )


class InputTooLong(Invalid):
    """One input has more characters than allowed."""

    def __init__(self, place: int, count: int, limit: int) -> None:
        super().__init__(
            _("Input {place} has {count} characters; [serve] max_chars allows {limit}.").format(
                place=place, count=count, limit=limit
            ),
            remedy=_("Shorten the text, or raise max_chars in feilun.toml."),
        )


class Service(NamedTuple):
    """The parts of one running service."""

    project: Project
    live: Live
    metrics: Metrics
    access: Access
    failures: Failures
    limits: Limits
    repeats: Repeats
    gateway: Relay | None = None


async def answer(
    service: Service,
    use: str,
    inputs: Sequence[Input],
    key: Key,
    keep: Keep | None = None,
    seconds: float | None = None,
    subject: str | None = None,
) -> dict[str, Any]:
    """What the live model answers to inputs of the task `use`, each with an id, once every one
    of them is durable; `keep` gives an event to be stored with them; `subject`: the person they
    are about. Raises `TooLate` after
    `seconds`, or as soon as `[serve] timeout_seconds` says."""
    started = time.perf_counter()
    task = service.live.task
    if task.use != use:
        raise OtherTask(use, task.use)
    check(inputs, service.project.settings.serve)
    with await service.limits.reserve(key, len(inputs)) as reserved:
        answered = await service.live.answered(inputs, service.live.deadline(seconds))
        rows = rows_of(service, inputs, answered, key.id, started)
        if subject is not None:
            whom = service.project.privacy.digest(subject)
            rows = [row._replace(subject=whom) for row in rows]
        content = told(rows, answered)
        await stored(service, rows if keep is None else [*rows, keep(content)])
        reserved.cost = sum(row.cost for row in rows)
    count(service, rows)
    service.live.shadow.offer(inputs, rows)
    return content


def rows_of(
    service: Service,
    inputs: Sequence[Input],
    answered: Answered,
    key: str,
    started: float,
    route: str = "live",
    *,
    request: str | None = None,
) -> list[PredictionRow]:
    """One request's rows for the event log, in the order of its inputs; `started` as
    `time.perf_counter` told it when the request began; `request` is its id (None: that of the
    one that is answered here and now)."""
    task = service.live.task
    request, at = request or request_id(), time.time()
    latency = (time.perf_counter() - started) * 1000
    levels = answered.levels or [0] * len(inputs)
    costs = answered.costs or [0.0] * len(inputs)
    if answered.levels is not None and route == "live":
        route = "cascade"
    return [
        PredictionRow(
            new_id("p"), request, at, answered.model, task.written_input(given), one.written,
            one.score, one.reason, latency, key, route, level, written_scores(one),
            characters=num_characters(given), cost=cost,
        )
        for given, one, level, cost in zip(inputs, answered.answers, levels, costs, strict=True)
    ]  # fmt: skip


def count(service: Service, rows: Sequence[PredictionRow]) -> None:
    """Counts predictions that are durable in the metrics."""
    task = service.live.task
    for row in rows:
        service.metrics.predicted([] if row.label is None else task.counted(row.label))


def told(rows: Sequence[PredictionRow], answered: Answered) -> dict[str, Any]:
    """What a request whose rows are durable is answered."""
    results = [
        {"id": row.id, **jsonable(one)} for row, one in zip(rows, answered.answers, strict=True)
    ]
    return {"id": rows[0].request, "model": answered.model, "results": results}


def check(inputs: Sequence[Input], serve: Serve) -> None:
    """Raises `TooManyInputs`, `InputTooLong`."""
    if len(inputs) > serve.max_inputs:
        raise TooManyInputs(len(inputs), serve.max_inputs)
    for place, given in enumerate(inputs, start=1):
        size = num_characters(given)
        if size > serve.max_chars:
            raise InputTooLong(place, size, serve.max_chars)


async def embeddings(
    service: Service, texts: Sequence[str], key: Key, seconds: float | None = None
) -> dict[str, Any]:
    """The live model's vectors of texts, in the shape that OpenAI's clients read; `seconds` as
    in `answer`."""
    check(texts, service.project.settings.serve)
    deadline = service.live.deadline(seconds)
    future = service.live.engine.submit_embeddings(texts, deadline)
    placed = await in_time(future, deadline)
    data = [
        {"object": "embedding", "index": place, "embedding": row}
        for place, row in enumerate(np.nan_to_num(placed.vectors).tolist())
    ]
    characters = sum(map(len, texts))
    # They are no predictions and have no rows; that they were asked for is stored all the same.
    await stored(service, [Charge(key.id, time.time(), request_id(), characters=characters)])
    usage = {"prompt_tokens": characters, "total_tokens": characters}
    return {"object": "list", "model": placed.model, "data": data, "usage": usage}


async def feedback(service: Service, asked: FeedbackRequest, key: Key) -> dict[str, str]:
    """The id of the feedback, once it is durable; the same idempotency key gives the same id."""
    row = feedback_row(
        asked.prediction_id, asked.kind, asked.value, asked.source or key.name, key.id
    )._replace(idempotency_key=asked.idempotency_key)
    if asked.subject is not None:
        row = row._replace(subject=service.project.privacy.digest(asked.subject))
    try:
        ids = await stored(service, [row])
    # These come from the log's thread, which does not speak the language of the request.
    except PredictionNotFound:
        raise PredictionNotFound(asked.prediction_id) from None
    except IdempotencyReused:
        raise IdempotencyReused(asked.idempotency_key or "") from None
    return {"id": ids[0]}


def models(service: Service) -> dict[str, Any]:
    """The newest models, newest first, each with its newest report's figures."""
    control = service.project.control
    figures: dict[str, dict[str, Any]] = {}
    for stored in control.artifacts("report"):
        if isinstance(stored.artifact, Report):
            shown = {name: figure._asdict() for name, figure in stored.artifact.metrics.items()}
            figures.setdefault(stored.artifact.model, shown)
    live = control.alias(LIVE)
    data = [
        {
            "id": stored.artifact.digest,
            "object": "model",
            "created": int(datetime.fromisoformat(stored.created_at).timestamp()),
            "number": stored.number,
            "architecture": stored.artifact.architecture,
            "live": live is not None and live.digest == stored.artifact.digest,
            "metrics": figures.get(stored.artifact.digest, {}),
        }
        for stored in control.artifacts("model")
        if isinstance(stored.artifact, Model)
    ]
    return {"object": "list", "data": data}


async def stored(service: Service, events: Sequence[Event]) -> list[str]:
    """The events' ids, once durable; a full or read-only disk makes the service unready."""
    began = time.perf_counter()
    try:
        ids = await settled(service.project.events.submit(events))
    except (Full, NotWritable):
        service.live.storage_failed()
        raise NotStored() from None
    step("commit", began, time.perf_counter())
    return ids
