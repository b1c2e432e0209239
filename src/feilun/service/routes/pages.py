"""Pages of the service itself; the console brings its own."""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from feilun.console import pages
from feilun.service.routes.entry import Entry


async def docs(request: Request) -> Response:
    """The API as a page; it is made here and loads nothing from elsewhere."""
    return await asyncio.to_thread(pages.api, request.app.openapi(), request.url.path)


async def home(request: Request) -> Response:
    """To the console."""
    return RedirectResponse("/console", 303)


ENTRIES = (
    Entry("GET", "/docs", docs, "", "", ""),
    Entry("GET", "/", home, "", "", ""),
)
