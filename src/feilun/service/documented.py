"""The OpenAPI document: every status, header, media type and example of every route.

FastAPI draws up the shapes of bodies; what the gate adds to every route, and it cannot know, is
added here.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer

from feilun.core.i18n import N_
from feilun.core.stage import STAGES
from feilun.service import policy, repeats, timeouts
from feilun.service.routes import API, Entry
from feilun.service.shapes import ErrorAnswer
from feilun.team import Scope
from feilun.version import __version__

_TAGS = {
    "release": N_("Models, and which of them is live."),
    "serve": N_("Predictions by the live model."),
    "monitor": N_("How the process is."),
    "feedback": N_("What people say of predictions; the next turn learns from it."),
}
_DESCRIPTION = N_(
    "Send texts, get labels; send feedback, get a better model after the next turn. "
    "Every request but the health checks needs an API key: Authorization: Bearer fw_…"
)
_REFUSED = {"$ref": f"#/components/schemas/{ErrorAnswer.__name__}"}
_TEXT = {"type": "string"}
_HEADERS: dict[str, dict[str, Any]] = {
    "www-authenticate": {
        "description": N_("How to send a key."),
        "required": True,
        "schema": {**_TEXT, "examples": ['Bearer realm="feilun"']},
    },
    "x-request-id": {
        "description": N_("The request's name in the logs; one that you sent is kept."),
        "required": True,
        "schema": {**_TEXT, "examples": ["r_01a200d5f685b9b78d809ab70c5e1a2f"]},
    },
    "ratelimit-policy": {
        "description": N_("Of a key that is limited: requests (q) in a window of seconds (w)."),
        "schema": {**_TEXT, "examples": ['"key";q=60;w=60']},
    },
    "ratelimit": {
        "description": N_("What remains of it (r), and after how many seconds it is whole (t)."),
        "schema": {**_TEXT, "examples": ['"key";r=59;t=1']},
    },
    "idempotency-replayed": {
        "description": N_("`true`: the request of that name was answered before."),
        "schema": {**_TEXT, "examples": ["true"]},
    },
    "retry-after": {
        "description": N_("After how many seconds to try again."),
        "required": True,
        "schema": {"type": "integer", "minimum": 0, "examples": [1]},
    },
}
_NAMED = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": N_(
        "A name for this request, such as a random UUID. Sent again with the same body within "
        "24 hours it gets the same answer, and nothing is done twice."
    ),
    "schema": {**_TEXT, "minLength": 1, "maxLength": repeats.LONGEST},
}


def _rated(where: str) -> dict[str, Any]:
    rating = {"prediction_id": f"{{$response.body#{where}/0/id}}", "kind": "rating", "value": True}
    return {"feedback": {"requestBody": rating}}


def _of_batch(*operations: str) -> dict[str, Any]:
    return {name: {"parameters": {"id": "$response.body#/id"}} for name in operations}


_LINKS: dict[str, dict[str, Any]] = {
    "classify": _rated("/results"),
    "tag": _rated("/results"),
    "match": _rated("/results"),
    "regress": _rated("/results"),
    "queue": _rated("/data"),
    "create_batch": _of_batch("batch_status", "batch_results", "cancel_batch"),
    "cancel_batch": _of_batch("batch_status", "batch_results"),
    "batch_status": _of_batch("batch_results"),
}
"""What can be done with the answer of an operation: operations, and where their ids are in it."""
_OF_STATUS = {401: ("www-authenticate",), 429: ("retry-after",), 503: ("retry-after",)}


class Documented(FastAPI):
    """An app with all routes of the API, whose OpenAPI document is complete."""

    def __init__(self, title: str, **more: Any) -> None:
        super().__init__(
            title=title,
            version=__version__,
            description=_DESCRIPTION,
            openapi_tags=[
                {"name": stage, "description": _TAGS[stage]} for stage in STAGES if stage in _TAGS
            ],
            docs_url=None,
            redoc_url=None,
            **more,
        )
        key = Security(HTTPBearer(auto_error=False, description="An API key: fw_…"))
        for entry in API:
            self._add(entry, key)

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            for entry in API:
                _complete(document["paths"][entry.path][entry.method.lower()], entry)
            self.openapi_schema = document
        return self.openapi_schema

    def _add(self, entry: Entry, key: Any) -> None:
        self.add_api_route(
            entry.path,
            entry.endpoint,
            methods=[entry.method],
            status_code=entry.status,
            tags=[entry.tag],
            summary=entry.summary,
            description=entry.description,
            operation_id=entry.endpoint.__name__,
            response_model=entry.answer,
            responses={
                status: _refusal(status, drawn=entry is API[0]) for status in _errors(entry)
            },
            dependencies=[key] if _needs_key(entry) else [],
        )


def document() -> dict[str, Any]:
    """The OpenAPI document of every service: only the title is each project's own."""
    return Documented("Feilun").openapi()


def _scope(entry: Entry) -> Scope | None:
    need = policy.rule_for(entry.method, entry.path).need
    return need if isinstance(need, Scope) else None


def _needs_key(entry: Entry) -> bool:
    return policy.rule_for(entry.method, entry.path).need is not policy.Need.PUBLIC


def _errors(entry: Entry) -> list[int]:
    """The entry's own, and what the gate answers to a key that sends too much."""
    return sorted({*entry.errors, 429} if _needs_key(entry) else entry.errors)


def _refusal(status: int, *, drawn: bool) -> dict[str, Any]:
    """A status that refuses. Its shape is `drawn` up by FastAPI once and named elsewhere: made
    ready anew for each of 162 statuses it takes 15 ms of every start."""
    description = HTTPStatus(status).phrase
    if drawn:
        return {"model": ErrorAnswer, "description": description}
    return {"description": description, "content": {"application/json": {"schema": _REFUSED}}}


def _complete(operation: dict[str, Any], entry: Entry) -> None:
    answers = operation["responses"]
    if entry.answer is None:
        answers[str(entry.status)]["content"] = {entry.media: {"schema": _TEXT}}
    if entry.also is not None:
        answers[str(entry.status)]["content"][entry.also] = {"schema": _TEXT}
    if entry.asks is not None:
        operation["requestBody"] = entry.asks
    if entry.timed:
        operation.setdefault("parameters", []).append(timeouts.PARAMETER)
    if entry.named:
        operation.setdefault("parameters", []).append(_NAMED)
    if "422" in answers and 422 not in entry.errors:
        # FastAPI's own; what is refused here is refused in our shape.
        del answers["422"]
    everywhere = ["x-request-id"]
    if _needs_key(entry):
        everywhere += ["ratelimit-policy", "ratelimit"]
    for status, said in answers.items():
        names = [*everywhere, *_OF_STATUS.get(int(status), ())]
        if entry.named and int(status) == entry.status:
            names.append("idempotency-replayed")
        said["headers"] = {name: _HEADERS[name] for name in names}
    links = _LINKS.get(entry.endpoint.__name__, {})
    if links:
        answers[str(entry.status)]["links"] = {
            name: {"operationId": name, **given} for name, given in links.items()
        }
    scope = _scope(entry)
    if scope is not None:
        operation["x-scope"] = scope.value
