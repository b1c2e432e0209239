"""How a route is declared."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from feilun.service.answering import Service

Endpoint = Callable[..., Awaitable[Response]]


class Entry(NamedTuple):
    """A route as it is declared: where, what answers, how it is documented."""

    method: str
    path: str
    endpoint: Endpoint
    tag: str
    summary: str
    description: str
    answer: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()


def service_of(request: Request) -> Service:
    """The parts that `create_app` put together."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
