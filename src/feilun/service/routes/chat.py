"""Chat: passed on by the gateway."""

from __future__ import annotations

from functools import partial

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service import answering
from feilun.service.gateway.errors import NoGateway
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes_chat import ChatAnswer, ChatRequest
from feilun.store.events import ExchangeRow


async def chat(request: Request, body: ChatRequest) -> Response:
    """The answer of the server behind the gateway."""
    service = service_of(request)
    if service.gateway is None:
        raise NoGateway()
    await service.limits.reserve(request.state.key, 0)
    return await service.gateway.answer(
        body.model_dump(exclude_unset=True),
        request.state.key,
        request.receive,
        partial(_stored, service),
    )


async def _stored(service: answering.Service, row: ExchangeRow) -> None:
    await answering.stored(service, [row])


ENTRIES = (
    Entry(
        "POST",
        "/v1/chat/completions",
        chat,
        "serve",
        N_("Chat through the gateway"),
        N_(
            "Passes a chat on to the server of [serve.gateway], without personal data if it says "
            "so, and logs it: the next turn can learn from it. With `stream` the answer comes as "
            "server-sent events that end with [DONE]. The header x-feilun-cache says whether an "
            "answer was given before."
        ),
        ChatAnswer,
        (400, 401, 403, 404, 408, 413, 415, 422, 429, 502, 503, 504, 507),
        also="text/event-stream",
    ),
)
