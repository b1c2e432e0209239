"""Serve: batches. Their ids come as query parameters: every path stays a plain one, so that the
policy table lists them all, and nothing of a path is ever parsed."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse

from feilun.core.i18n import N_
from feilun.service import repeats
from feilun.service.answering import stored
from feilun.service.batches import take_in
from feilun.service.errors import json_answer, json_response
from feilun.service.policy import LINES
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes_batches import BatchAnswer, BatchList
from feilun.store.events.batches import CANCELLED, Batch, BatchEnded, Batches

BatchId = Annotated[
    str,
    Query(
        pattern="^b_[0-9a-f]{32}$",
        description=N_("The batch's id, as POST /v1/batches answered it."),
        examples=["b_01a200d5f685b3e20c7b8770c5e1a2f3"],
    ),
]


async def create_batch(request: Request) -> Response:
    """The new batch."""
    name = request.headers.get(repeats.HEADER)
    content, before = await take_in(service_of(request), request.receive, request.state.key, name)
    request.app.state.batches.wake()
    return json_answer(content, 202, repeats.REPLAYED if before else None)


async def list_batches(request: Request) -> Response:
    """The key's batches, newest first."""
    rows = await asyncio.to_thread(_batches(request).of, request.state.key.id)
    return json_response({"object": "list", "data": [batch.shown() for batch in rows]})


async def batch_status(request: Request, id: BatchId) -> Response:
    """One batch of the key."""
    return json_response((await _batch(request, id)).shown())


async def batch_results(request: Request, id: BatchId) -> Response:
    """The results so far, a line per line of the batch that was answered."""
    batch = await _batch(request, id)
    return StreamingResponse(_batches(request).results(batch.id), headers={"content-type": LINES})


async def cancel_batch(request: Request, id: BatchId) -> Response:
    """The batch, ended; its results so far stay."""
    batch = await _batch(request, id)
    if batch.open:
        await stored(service_of(request), [BatchEnded(batch.id, CANCELLED, time.time())])
        request.app.state.batches.wake()
    return json_response((await _batch(request, id)).shown())


def _batches(request: Request) -> Batches:
    return Batches(service_of(request).project.events.database)


async def _batch(request: Request, identity: str) -> Batch:
    """Only its own key sees a batch: to others it does not exist."""
    return await asyncio.to_thread(_batches(request).get, identity, request.state.key.id)


_BODY = {
    "required": True,
    "content": {
        LINES: {
            "schema": {"type": "string", "minLength": 1},
            "examples": {
                "plain": {
                    "value": '{"id": "review-1", "input": "物流很快，包装也好"}\n'
                    '{"id": "review-2", "input": ["好", "bad"]}\n'
                },
                "openai": {
                    "value": '{"custom_id": "review-1", "method": "POST", "url": "/v1/classify", '
                    '"body": {"input": "物流很快，包装也好"}}\n'
                },
            },
        }
    },
}

ENTRIES = (
    Entry(
        "POST",
        "/v1/batches",
        create_batch,
        "serve",
        N_("Hand over many inputs at once"),
        N_(
            "JSON Lines, each with an `input` of the task's own route and perhaps an `id`, or in "
            "the shape of OpenAI's batches. They are stored, then worked off behind live "
            "requests; a line that cannot be answered gets an error of its own."
        ),
        BatchAnswer,
        (400, 401, 403, 408, 409, 413, 415, 422, 429, 503, 507),
        status=202,
        asks=_BODY,
        named=True,
    ),
    Entry(
        "GET",
        "/v1/batches",
        list_batches,
        "serve",
        N_("List this key's batches"),
        N_("The newest hundred, newest first."),
        BatchList,
        (401, 403),
    ),
    Entry(
        "GET",
        "/v1/batches/status",
        batch_status,
        "serve",
        N_("How far is a batch?"),
        N_("One batch of this key; those of other keys do not exist for it."),
        BatchAnswer,
        (401, 403, 404, 422),
    ),
    Entry(
        "GET",
        "/v1/batches/results",
        batch_results,
        "serve",
        N_("Get a batch's results"),
        N_(
            "JSON Lines in the order of the batch, as far as it has come: `custom_id` (the line's "
            "`id`), `line`, and either `response` with what the task's own route would have "
            "answered or `error`."
        ),
        None,
        (401, 403, 404, 422),
        media=LINES,
    ),
    Entry(
        "POST",
        "/v1/batches/cancel",
        cancel_batch,
        "serve",
        N_("End a batch early"),
        N_("What was answered stays; one that has ended stays as it was."),
        BatchAnswer,
        (401, 403, 404, 422, 503, 507),
    ),
)
