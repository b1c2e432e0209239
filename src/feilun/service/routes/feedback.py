"""Feedback: what people say of answers."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service import answering
from feilun.service.errors import json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes import (
    FeedbackAnswer,
    FeedbackRequest,
)


async def feedback(request: Request, body: FeedbackRequest) -> Response:
    """The id of the recorded feedback."""
    service = service_of(request)
    return json_response(await answering.feedback(service, body, request.state.key))


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
)
