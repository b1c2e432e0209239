"""Monitor: what is wrong, and who is told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service.errors import json_response
from feilun.service.routes.entry import Entry, service_of
from feilun.service.shapes_alerts import AlertList, ChannelList
from feilun.wheel import alerts, notices
from feilun.wheel.project import Project


async def list_alerts(request: Request) -> Response:
    """The newest alerts, and the silences."""
    return json_response(await asyncio.to_thread(_alerts, service_of(request).project))


async def list_channels(request: Request) -> Response:
    """The channels of the settings."""
    figures = await asyncio.to_thread(notices.figures, service_of(request).project)
    return json_response({"object": "list", "data": [one._asdict() for one in figures]})


def _alerts(project: Project) -> dict[str, Any]:
    box = alerts.alerts(project)
    return {
        "object": "list",
        "data": [alerts.shown(row) for row in box.latest()],
        "silences": [silence._asdict() for silence in box.silences(time.time())],
    }


ENTRIES = (
    Entry(
        "GET",
        "/v1/alerts",
        list_alerts,
        "monitor",
        N_("List the alerts"),
        N_("The 50 newest alerts, open and over, newest first, and the silences that hold now."),
        AlertList,
        (401, 403),
    ),
    Entry(
        "GET",
        "/v1/notify",
        list_channels,
        "monitor",
        N_("List who is told of what happens"),
        N_("The channels of [[serve.notify]], with messages that wait, arrived or were given up."),
        ChannelList,
        (401, 403),
    ),
)
