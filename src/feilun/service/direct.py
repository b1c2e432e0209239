"""Routes called without the framework between: a body goes straight from JSON to its shape.

FastAPI documents every route and still answers those that take more than a body. Its own way
from a request to an endpoint costs more than a small model's answer.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, get_type_hints

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from feilun.core.i18n import _
from feilun.service.errors import Malformed, invalid_body
from feilun.service.headers import Headers
from feilun.service.routes.entry import Endpoint, Entry


class Direct(NamedTuple):
    """An endpoint that takes a request and nothing else, or its body too."""

    endpoint: Endpoint
    shape: type[BaseModel] | None

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send, body: bytes, headers: Headers
    ) -> None:
        request = Request(scope, receive)
        request._headers = headers  # those that the gate has read
        if self.shape is None:
            response = await self.endpoint(request)
        else:
            response = await self.endpoint(request, read(self.shape, body))
        await response(scope, receive, send)


def direct_routes(entries: tuple[Entry, ...]) -> Mapping[tuple[str, str], Direct]:
    """The routes that can be called so, by method and path."""
    found = {}
    for entry in entries:
        hints = get_type_hints(entry.endpoint)
        names = list(inspect.signature(entry.endpoint).parameters)
        shape = hints.get("body")
        if names == ["request"]:
            found[entry.method, entry.path] = Direct(entry.endpoint, None)
        elif names == ["request", "body"] and _is_shape(shape):
            found[entry.method, entry.path] = Direct(entry.endpoint, shape)
    return found


def read(shape: type[BaseModel], body: bytes) -> Any:
    """The body as its shape; raises `Malformed` or `InvalidFields`."""
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        if error.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise invalid_body(error) from None
    # The fast parser refuses halves of characters and other encodings, which JSON may hold.
    if not body:
        raise Malformed(_("it is empty"))
    try:
        content = json.loads(body)
    except ValueError:
        raise Malformed(_("it is not valid JSON")) from None
    except RecursionError:
        raise Malformed(_("it is not JSON, or too deeply nested")) from None
    try:
        return shape.model_validate(content)
    except ValidationError as error:
        raise invalid_body(error) from None


def _is_shape(given: object) -> bool:
    return isinstance(given, type) and issubclass(given, BaseModel)
