"""How a route is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from feilun.service.answering import Service

JSON, TEXT = "application/json", "text/plain"
Endpoint = Callable[..., Awaitable[Response]]


class Entry(NamedTuple):
    """A route as it is declared: where, what answers, how it is documented.

    `answer` is the shape of a success, whose status is `status` and whose media type is `media`
    (or `also`); `errors` are the other statuses; `asks` is the OpenAPI `requestBody` where it is
    no JSON; `timed`: the header `X-Request-Timeout-Seconds` is honoured; `named`: the header
    `Idempotency-Key` is.
    """

    method: str
    path: str
    endpoint: Endpoint
    tag: str
    summary: str
    description: str
    answer: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    status: int = 200
    media: str = JSON
    asks: Mapping[str, Any] | None = None
    also: str | None = None
    timed: bool = False
    named: bool = False


def service_of(request: Request) -> Service:
    """The parts that `create_app` put together."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
