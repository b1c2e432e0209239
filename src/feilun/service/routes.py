"""Every route of the API: each calls one function and formats its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from feilun.console import pages
from feilun.core.i18n import N_
from feilun.service import answering, metrics
from feilun.service.answering import Service
from feilun.service.errors import NotReady, json_response
from feilun.service.shapes import (
    ClassifyAnswer,
    ClassifyRequest,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    FeedbackAnswer,
    FeedbackRequest,
    MatchAnswer,
    MatchRequest,
    ModelList,
    RegressAnswer,
    RegressRequest,
    State,
    TagAnswer,
    TagRequest,
)
from feilun.tasks.task import Input

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


async def classify(request: Request, body: ClassifyRequest) -> Response:
    """The labels of one text or several."""
    return await _answered(request, "classify", body.input)


async def tag(request: Request, body: TagRequest) -> Response:
    """The entities in one text or several."""
    return await _answered(request, "tag", body.input)


async def match(request: Request, body: MatchRequest) -> Response:
    """Whether two texts go together."""
    return await _answered(request, "match", body.input)


async def regress(request: Request, body: RegressRequest) -> Response:
    """A number for one text or several."""
    return await _answered(request, "regress", body.input)


async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
    """A vector for one text or several."""
    return json_response(await answering.embeddings(service_of(request), body.input))


async def _answered(request: Request, task: str, inputs: Sequence[Input]) -> Response:
    service = service_of(request)
    return json_response(await answering.answer(service, task, inputs, request.state.key))


async def feedback(request: Request, body: FeedbackRequest) -> Response:
    """The id of the recorded feedback."""
    service = service_of(request)
    return json_response(await answering.feedback(service, body, request.state.key))


async def models(request: Request) -> Response:
    """The models, newest first."""
    return json_response(await asyncio.to_thread(answering.models, service_of(request)))


async def prometheus(request: Request) -> Response:
    """The metrics of this process."""
    text = service_of(request).metrics.text()
    return Response(text, headers={"content-type": metrics.CONTENT_TYPE})


async def healthz(request: Request) -> Response:
    """200 while the process runs."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 while requests are answered, else 503."""
    if not service_of(request).live.ready:
        raise NotReady()
    return json_response({"status": "ready"})


async def docs(request: Request) -> Response:
    """The API as a page; it is made here and loads nothing from elsewhere."""
    return await asyncio.to_thread(pages.api, request.app.openapi(), request.url.path)


async def home(request: Request) -> Response:
    """To the console."""
    return RedirectResponse("/console", 303)


_TASK_ERRORS = (400, 401, 403, 408, 409, 413, 415, 422, 503, 507)

API = (
    Entry(
        "POST",
        "/v1/classify",
        classify,
        "serve",
        N_("Label texts"),
        N_(
            "Labels one text or several. Each result has an id to which feedback refers, and is "
            "stored before it is answered. A text with nothing to judge by gets the label null."
        ),
        ClassifyAnswer,
        _TASK_ERRORS,
    ),
    Entry(
        "POST",
        "/v1/tag",
        tag,
        "serve",
        N_("Find entities"),
        N_(
            "Finds the entities in one text or several, for a project whose task is `tag`. Places "
            "are counted in code points; each result is stored before it is answered."
        ),
        TagAnswer,
        _TASK_ERRORS,
    ),
    Entry(
        "POST",
        "/v1/match",
        match,
        "serve",
        N_("Compare pairs of texts"),
        N_(
            "Says of one pair of texts or several whether they go together, for a project whose "
            "task is `match`. Each result is stored before it is answered."
        ),
        MatchAnswer,
        _TASK_ERRORS,
    ),
    Entry(
        "POST",
        "/v1/regress",
        regress,
        "serve",
        N_("Give texts a number"),
        N_(
            "Gives one text or several a number each with its interval, for a project whose task "
            "is `regress`. Each result is stored before it is answered."
        ),
        RegressAnswer,
        _TASK_ERRORS,
    ),
    Entry(
        "POST",
        "/v1/embeddings",
        embeddings,
        "serve",
        N_("Place texts in a space"),
        N_(
            "A vector of length 1 per text, in the shape of OpenAI's API, for search and for "
            "finding what is alike. The live model must have one: those of `match` do."
        ),
        EmbeddingsAnswer,
        _TASK_ERRORS,
    ),
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
        "/v1/models",
        models,
        "release",
        N_("List the models"),
        N_("Every model, newest first, with its figures on the frozen test."),
        ModelList,
        (401, 403),
    ),
    Entry(
        "GET",
        "/metrics",
        prometheus,
        "monitor",
        N_("Metrics for Prometheus"),
        N_("The metrics of this process in Prometheus' text format."),
        None,
        (401, 403),
    ),
    Entry(
        "GET",
        "/healthz",
        healthz,
        "monitor",
        N_("Is the process alive?"),
        N_("200 while the process runs."),
        State,
    ),
    Entry(
        "GET",
        "/readyz",
        readyz,
        "monitor",
        N_("Are requests answered?"),
        N_("200 while requests are answered; 503 without a model, on a full disk, at shutdown."),
        State,
        (503,),
    ),
)
"""The documented routes; their tags are words of the wheel."""

PAGES = (
    Entry("GET", "/docs", docs, "", "", ""),
    Entry("GET", "/", home, "", "", ""),
)
"""Pages of the service itself; the console brings its own."""


def service_of(request: Request) -> Service:
    """The parts that `create_app` put together."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
