"""What the routes answer: predictions, feedback, the list of models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import numpy as np

from feilun.core.artifacts import Model, Report
from feilun.core.errors import Conflict, Full, Invalid, NotWritable
from feilun.core.i18n import _
from feilun.service.access import Access
from feilun.service.errors import NotStored
from feilun.service.failures import Failures
from feilun.service.live import Live
from feilun.service.metrics import Metrics
from feilun.service.shapes import FeedbackRequest
from feilun.stages.serve import Serve
from feilun.store.clock import new_id
from feilun.store.events import (
    Event,
    IdempotencyReused,
    PredictionNotFound,
    PredictionRow,
)
from feilun.tasks import jsonable
from feilun.tasks.task import Input
from feilun.team import Key
from feilun.wheel.predictions import feedback_row
from feilun.wheel.project import Project
from feilun.wheel.turn import LIVE

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


async def answer(service: Service, use: str, inputs: Sequence[Input], key: Key) -> dict[str, Any]:
    """What the live model answers to inputs of the task `use`, each with an id, once every one
    of them is durable."""
    started = time.perf_counter()
    task = service.live.task
    if task.use != use:
        raise OtherTask(use, task.use)
    _check(inputs, service.project.settings.serve)
    answered = await _settled(service.live.engine.submit(inputs))
    request, at = new_id("r"), time.time()
    latency = (time.perf_counter() - started) * 1000
    rows = [
        PredictionRow(
            new_id("p"), request, at, answered.model, task.written_input(given), one.written,
            one.score, one.reason, latency, key.id,
        )
        for given, one in zip(inputs, answered.answers, strict=True)
    ]  # fmt: skip
    await _stored(service, rows)
    for row in rows:
        service.metrics.predicted([] if row.label is None else task.counted(row.label))
    results = [
        {"id": row.id, **jsonable(one)} for row, one in zip(rows, answered.answers, strict=True)
    ]
    return {"id": request, "model": answered.model, "results": results}


def _check(inputs: Sequence[Input], serve: Serve) -> None:
    """Raises `TooManyInputs`, `InputTooLong`."""
    if len(inputs) > serve.max_inputs:
        raise TooManyInputs(len(inputs), serve.max_inputs)
    for place, given in enumerate(inputs, start=1):
        size = sum(map(len, given)) if isinstance(given, tuple) else len(given)
        if size > serve.max_chars:
            raise InputTooLong(place, size, serve.max_chars)


async def embeddings(service: Service, texts: Sequence[str]) -> dict[str, Any]:
    """The live model's vectors of texts, in the shape that OpenAI's clients read."""
    _check(texts, service.project.settings.serve)
    model, vectors = await asyncio.to_thread(service.live.engine.embeddings, texts)
    data = [
        {"object": "embedding", "index": place, "embedding": row}
        for place, row in enumerate(np.nan_to_num(vectors).tolist())
    ]
    num_characters = sum(map(len, texts))
    usage = {"prompt_tokens": num_characters, "total_tokens": num_characters}
    return {"object": "list", "model": model, "data": data, "usage": usage}


async def feedback(service: Service, asked: FeedbackRequest, key: Key) -> dict[str, str]:
    """The id of the feedback, once it is durable; the same idempotency key gives the same id."""
    row = feedback_row(
        asked.prediction_id, asked.kind, asked.value, asked.source or key.name, key.id
    )._replace(idempotency_key=asked.idempotency_key)
    try:
        ids = await _stored(service, [row])
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


async def _stored(service: Service, events: Sequence[Event]) -> list[str]:
    """The events' ids, once durable; a full or read-only disk makes the service unready."""
    try:
        return await _settled(service.project.events.submit(events))
    except (Full, NotWritable):
        service.live.storage_failed()
        raise NotStored() from None


async def _settled(future: Future[T]) -> T:
    """The future's result. A request that is cancelled does not cancel it: the thread that
    answers it answers others in the same batch."""
    return await asyncio.shield(asyncio.wrap_future(future))
