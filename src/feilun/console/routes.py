"""The console's routes; the service mounts them behind its policy."""

from __future__ import annotations

import asyncio
from functools import cache
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from feilun.console import pages
from feilun.console.session import LASTS_SECONDS, Sessions, TooManyTries
from feilun.core.errors import Denied, FeilunError
from feilun.wheel.project import Project

HOME, SIGN_IN = "/console", "/console/sign-in"
_MEDIA = {"console.css": "text/css; charset=utf-8", "wheel.svg": "image/svg+xml"}


def routes(project: Project, sessions: Sessions) -> list[BaseRoute]:
    """Every page of the console; whoever mounts them asks for a session where one is needed."""

    def home(_request: Request) -> Response:
        return pages.console(project)

    def form(_request: Request) -> Response:
        return pages.sign_in(project.settings.project.name, None, 200)

    async def sign_in(request: Request) -> Response:
        body = (await request.body()).decode("utf-8", "replace")
        text = parse_qs(body[:2000]).get("key", [""])[-1]
        client = request.client.host if request.client else ""
        try:
            value = await asyncio.to_thread(sessions.sign_in, text, client)
        except (Denied, TooManyTries) as error:
            return await asyncio.to_thread(
                pages.sign_in, project.settings.project.name, error, _status(error)
            )
        answer = RedirectResponse(HOME, 303)
        answer.set_cookie(
            sessions.cookie,
            value,
            max_age=LASTS_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    def sign_out(_request: Request) -> Response:
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(sessions.cookie, httponly=True, samesite="strict")
        return answer

    def further(request: Request) -> Response:
        path = request.url.path
        return pages.page(pages.further()[path], path, project, request.state.session)

    async def erase(request: Request) -> Response:
        from feilun.console import erasure

        body = await request.body()
        return await asyncio.to_thread(erasure.erase, project, request.state.session, body)

    return [
        Route(HOME, home, methods=["GET"]),
        *[Route(path, further, methods=["GET"]) for path in pages.paths()],
        Route(pages.PRIVACY, erase, methods=["POST"]),
        Route(SIGN_IN, form, methods=["GET"]),
        Route(SIGN_IN, sign_in, methods=["POST"]),
        Route("/console/sign-out", sign_out, methods=["POST"]),
        *[Route(f"/console/static/{name}", static, methods=["GET"]) for name in _MEDIA],
    ]


def static(request: Request) -> Response:
    """A file of `static/`; only those that `_MEDIA` names have a route."""
    name = request.url.path.rpartition("/")[2]
    headers = {"content-type": _MEDIA[name], "cache-control": "max-age=300"}
    return Response(_content(name), headers=headers)


def _status(error: FeilunError) -> int:
    return {"throttled": 429, "forbidden": 403}.get(error.kind, 401)


@cache
def _content(name: str) -> bytes:
    return (pages.FOLDER / "static" / name).read_bytes()
