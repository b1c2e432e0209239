"""Serve: answers of the live model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service import answering, repeats
from feilun.service.errors import json_answer, json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes import (
    ClassifyAnswer,
    ClassifyRequest,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    MatchAnswer,
    MatchRequest,
    RegressAnswer,
    RegressRequest,
    TagAnswer,
    TagRequest,
)
from feilun.service.timeouts import asked_seconds
from feilun.tasks.task import Input


async def classify(request: Request, body: ClassifyRequest) -> Response:
    """The labels of one text or several."""
    return await answered(request, "classify", body.input, body.subject)


async def tag(request: Request, body: TagRequest) -> Response:
    """The entities in one text or several."""
    return await answered(request, "tag", body.input, body.subject)


async def match(request: Request, body: MatchRequest) -> Response:
    """Whether two texts go together."""
    return await answered(request, "match", body.input, body.subject)


async def regress(request: Request, body: RegressRequest) -> Response:
    """A number for one text or several."""
    return await answered(request, "regress", body.input, body.subject)


async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
    """A vector for one text or several."""
    seconds = asked_seconds(request.headers)
    answered = await answering.embeddings(
        service_of(request), body.input, request.state.key, seconds
    )
    return json_response(answered)


async def answered(
    request: Request,
    task: str,
    inputs: Sequence[Input],
    subject: str | None,
    shaped: Callable[[dict[str, Any]], dict[str, Any]] = lambda content: content,
) -> Response:
    """The answer to some inputs, once for each `Idempotency-Key`; `shaped` gives what is sent of
    what was answered."""
    service, key = service_of(request), request.state.key
    seconds = asked_seconds(request.headers)
    name = request.headers.get(repeats.HEADER)
    if name is None:
        content = await answering.answer(service, task, inputs, key, None, seconds, subject)
        return json_response(shaped(content))
    asked = request.url.path.encode() + b"\n" + await request.body()
    once = await service.repeats.once(
        key,
        name,
        asked,
        lambda keep: answering.answer(
            service, task, inputs, key, lambda made: keep(shaped(made)), seconds, subject
        ),
    )
    return json_answer(once.content, headers=repeats.REPLAYED if once.before else None)


ERRORS = (400, 401, 403, 408, 409, 413, 415, 422, 503, 507)

ENTRIES = (
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
        ERRORS,
        timed=True,
        named=True,
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
        ERRORS,
        timed=True,
        named=True,
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
        ERRORS,
        timed=True,
        named=True,
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
        ERRORS,
        timed=True,
        named=True,
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
        ERRORS,
        timed=True,
    ),
)
