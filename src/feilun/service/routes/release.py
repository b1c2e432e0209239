"""Release: the models."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service import answering
from feilun.service.errors import json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes import (
    ModelList,
)


async def models(request: Request) -> Response:
    """The models, newest first, then those that the gateway offers."""
    service = service_of(request)
    listed = await asyncio.to_thread(answering.models, service)
    if service.gateway is not None:
        listed["data"] += service.gateway.listed()
    return json_response(listed)


ENTRIES = (
    Entry(
        "GET",
        "/v1/models",
        models,
        "release",
        N_("List the models"),
        N_(
            "Every model, newest first, with its figures on the frozen test; then the names that "
            "a chat may use."
        ),
        ModelList,
        (401, 403),
    ),
)
