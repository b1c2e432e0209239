"""Feedback: what people say of answers."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service import answering
from feilun.service.errors import json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes import (
    FeedbackAnswer,
    FeedbackRequest,
    QueueAnswer,
)
from feilun.wheel.queue import waiting


async def feedback(request: Request, body: FeedbackRequest) -> Response:
    """The id of the recorded feedback."""
    service = service_of(request)
    return json_response(await answering.feedback(service, body, request.state.key))


async def queue(request: Request) -> Response:
    """What waits for a person."""
    found = await asyncio.to_thread(waiting, service_of(request).project)
    entries = [{"object": "open_prediction", **one._asdict()} for one in found.entries]
    return json_response({"object": "list", "waiting": found.waiting, "data": entries})


ENTRIES = (
    Entry(
        "POST",
        "/v1/feedback",
        feedback,
        "feedback",
        N_("Say how good a prediction was"),
        N_(
            "Records what somebody says of a prediction; the next turn learns from it. Repeating "
            "a request with the same idempotency key records it once."
        ),
        FeedbackAnswer,
        (400, 401, 403, 404, 408, 409, 413, 415, 422, 503, 507),
    ),
    Entry(
        "GET",
        "/v1/queue",
        queue,
        "feedback",
        N_("List what waits for a person"),
        N_(
            "Predictions without an answer, because no level of the cascade was sure enough "
            "(`reason` is `person`): how many, and the 100 that have waited longest. POST "
            "/v1/feedback with a `correction` answers one."
        ),
        QueueAnswer,
        (401, 403),
    ),
)
