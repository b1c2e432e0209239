"""The app: routes, console and gate put together; an undeclared route keeps it from being built."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from feilun.console.routes import routes as console_routes
from feilun.console.session import Sessions
from feilun.core.i18n import N_
from feilun.core.stage import STAGES
from feilun.service import policy
from feilun.service.access import Access
from feilun.service.answering import Service
from feilun.service.errors import ours
from feilun.service.failures import Failures
from feilun.service.gate import Gate
from feilun.service.live import Live
from feilun.service.metrics import Metrics
from feilun.service.routes import API, PAGES
from feilun.service.shapes import ErrorAnswer
from feilun.team import Scope
from feilun.version import __version__
from feilun.wheel.project import Project

_TAGS = {
    "release": N_("Models, and which of them is live."),
    "serve": N_("Predictions by the live model."),
    "monitor": N_("How the process is."),
    "feedback": N_("What people say of predictions; the next turn learns from it."),
}
_DESCRIPTION = N_(
    "Send texts, get labels; send feedback, get a better model after the next turn. "
    "Every request but the health checks needs an API key: Authorization: Bearer fw_…"
)


def create_app(project: Project, host: str | None = None) -> FastAPI:
    """The whole HTTP side of a project; `host` is the address the server is bound to.

    While its lifespan runs, the live model is loaded and watched. Raises `UndeclaredRoute` when
    the routes are not exactly those of the policy table.
    """
    live = Live(project)
    service = Service(project, live, Metrics(live), Access(project.keys), Failures(project.events))
    sessions = Sessions(project)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        live.start()
        yield
        live.close()

    app = FastAPI(
        title=f"Feilun: {project.settings.project.name}",
        version=__version__,
        description=_DESCRIPTION,
        openapi_tags=[
            {"name": stage, "description": _TAGS[stage]} for stage in STAGES if stage in _TAGS
        ],
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers={RequestValidationError: _as_ours, HTTPException: _as_ours},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    _add_routes(app)
    app.router.routes.extend(console_routes(project, sessions))
    policy.check(app.routes)
    app.add_middleware(
        Gate,
        service=service,
        sessions=sessions,
        host=host if host is not None else project.settings.serve.host,
    )
    return app


def _add_routes(app: FastAPI) -> None:
    key = Security(HTTPBearer(auto_error=False, description="An API key: fw_…"))
    for entry in API:
        needs_key = isinstance(policy.rule_for(entry.method, entry.path).need, Scope)
        app.add_api_route(
            entry.path,
            entry.endpoint,
            methods=[entry.method],
            tags=[entry.tag],
            summary=entry.summary,
            description=entry.description,
            operation_id=entry.endpoint.__name__,
            response_model=entry.answer,
            responses={status: _documented(status) for status in entry.errors},
            dependencies=[key] if needs_key else [],
        )
    for entry in PAGES:
        app.add_api_route(
            entry.path, entry.endpoint, methods=[entry.method], include_in_schema=False
        )


def _documented(status: int) -> dict[str, Any]:
    return {"model": ErrorAnswer, "description": HTTPStatus(status).phrase}


async def _as_ours(_request: Request, error: Exception) -> Response:
    """Raises the framework's refusals as ours; the gate answers them like all others."""
    raise ours(error)
