"""Monitor: who used how much."""

from __future__ import annotations

import asyncio
import re
from datetime import date
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import BeforeValidator
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service.errors import json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes_usage import UsageList
from feilun.team import Scope


def _whole_day(value: Any) -> Any:
    # Pydantic would take a number of seconds for a day, too.
    return value if value is None or re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)) else "…"


Since = Annotated[
    date | None,
    BeforeValidator(_whole_day),
    Query(description=N_("the first day, in UTC; else the first of this month")),
]


async def usage(request: Request, since: Since = None) -> Response:
    """What every key used; only its own where the key may not read."""
    project, key = service_of(request).project, request.state.key
    one = None if Scope.READ in key.scopes else key.id
    found = await asyncio.to_thread(project.usage, since, one)
    return json_response({"object": "list", "data": [entry.shown() for entry in found]})


ENTRIES = (
    Entry(
        "GET",
        "/v1/usage",
        usage,
        "monitor",
        N_("Who used how much"),
        N_(
            "Requests, predictions, characters, tokens and cost of each key, by day; every figure "
            "was stored with what it counts. A key without the scope read sees its own."
        ),
        UsageList,
        (401, 422),
    ),
)
