"""Monitor: how the process is."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service import metrics
from feilun.service.errors import NotReady, json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes import (
    State,
)


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


ENTRIES = (
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
