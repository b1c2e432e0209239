"""Monitor: how the process is."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service import metrics
from feilun.service.errors import NotReady, json_response
from feilun.service.routes.entry import TEXT, Entry, service_of
from feilun.service.shapes import State
from feilun.service.shapes_monitor import SignalList, WeakestList
from feilun.wheel import apart
from feilun.wheel.signals import recent
from feilun.wheel.weakest import recent_weakest

Hours = Annotated[
    float | None,
    Query(gt=0, le=8784, description=N_("how far back; else [monitor] window_hours")),
]
Days = Annotated[float | None, Query(gt=0, le=366, description=N_("how far back; else 7"))]


async def prometheus(request: Request) -> Response:
    """The metrics of this process."""
    text = service_of(request).metrics.text()
    return Response(text, headers={"content-type": metrics.CONTENT_TYPE})


async def healthz(request: Request) -> Response:
    """200 while the process runs."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """200 while requests are answered, else 503."""
    service = service_of(request)
    passes_on = service.gateway is not None and service.live.takes_requests
    if not service.live.ready and not passes_on:
        raise NotReady()
    return json_response({"status": "ready"})


async def signals(request: Request, hours: Hours = None) -> Response:
    """Every signal of the window."""
    project = service_of(request).project
    found = await asyncio.to_thread(
        lambda: recent(project, wait=True) if hours is None else apart.signals(project, hours)
    )
    data = [{**one._asdict(), "message": str(one.message)} for one in found]
    return json_response({"object": "list", "data": data})


async def weakest(request: Request, days: Days = None) -> Response:
    """The weakest slices."""
    project = service_of(request).project
    found = await asyncio.to_thread(
        lambda: recent_weakest(project, wait=True) if days is None else apart.weakest(project, days)
    )
    return json_response(found.summary())


ENTRIES = (
    Entry(
        "GET",
        "/v1/monitor",
        signals,
        "monitor",
        N_("Is everything as it was?"),
        N_(
            "The signals of the last hours: traffic, drift of inputs, answers, confidence and "
            "feedback, label shift, cost. Those of the default window may be half a minute old."
        ),
        SignalList,
        (401, 403, 422),
    ),
    Entry(
        "GET",
        "/v1/monitor/weakest",
        weakest,
        "monitor",
        N_("List the weakest slices"),
        N_(
            "The slices of the last days (labels, keys, lengths, languages, terms) in which more "
            "answers were wrong, or unsure, than in the rest; examples are masked. Those of the "
            "default stretch of time may be five minutes old."
        ),
        WeakestList,
        (401, 403, 422),
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
        media=TEXT,
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
        N_(
            "200 while requests are answered; 503 without a model or gateway, on a full disk, at "
            "shutdown."
        ),
        State,
        (503,),
    ),
)
