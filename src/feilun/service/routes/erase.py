"""Erasing a person through the API."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service.errors import json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes_erasure import EraseAnswer, EraseRequest, ErasureList


async def erase(request: Request, body: EraseRequest) -> Response:
    """The receipt of the erasure."""
    project, key = service_of(request).project, request.state.key
    receipt = await asyncio.to_thread(project.erase, body.subject, texts=body.texts, by=key.name)
    return json_response(receipt.shown())


async def erasures(request: Request) -> Response:
    """The receipts of all erasures, newest first."""
    project = service_of(request).project
    receipts = await asyncio.to_thread(project.erasures)
    return json_response({"object": "list", "data": [one.shown() for one in receipts]})


ENTRIES = (
    Entry(
        "POST",
        "/v1/erase",
        erase,
        "feedback",
        N_("Erase a person"),
        N_(
            "Removes a person from the log, the vault and the stored files, and says which models "
            "learnt from them. It needs a key with the scope `erase`, and takes as long as the "
            "project is large; while a turn runs it is refused."
        ),
        EraseAnswer,
        (400, 401, 403, 408, 409, 413, 415, 422, 503, 507),
    ),
    Entry(
        "GET",
        "/v1/erasures",
        erasures,
        "feedback",
        N_("List the receipts of erasures"),
        N_(
            "What each erasure removed, and which models were to be trained anew; no names, no "
            "texts. It needs a key with the scope `erase`."
        ),
        ErasureList,
        (401, 403),
    ),
)
