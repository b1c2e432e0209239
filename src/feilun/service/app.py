"""The app: routes, console and gate put together; an undeclared route keeps it from being built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from feilun.console.routes import routes as console_routes
from feilun.console.session import Sessions
from feilun.service import policy
from feilun.service.access import Access
from feilun.service.alerting import Watch
from feilun.service.answering import Service
from feilun.service.batches import Worker
from feilun.service.direct import direct_routes
from feilun.service.documented import Documented
from feilun.service.errors import ours
from feilun.service.express import Express
from feilun.service.failures import Failures
from feilun.service.gate import Gate
from feilun.service.limits import Limits
from feilun.service.live import Live
from feilun.service.metrics import Metrics
from feilun.service.outbox import Sender
from feilun.service.repeats import Repeats
from feilun.service.retention import Retention
from feilun.service.routes import API, PAGES
from feilun.service.telemetry.answered import Teller
from feilun.wheel.project import Project

if TYPE_CHECKING:
    from feilun.service.gateway.relay import Relay


def create_app(project: Project, host: str | None = None) -> FastAPI:
    """The whole HTTP side of a project; `host` is the address the server is bound to.

    While its lifespan runs, the live model is loaded and watched. Raises `UndeclaredRoute` when
    the routes are not exactly those of the policy table.
    """
    live = Live(project)
    metrics, failures = Metrics(live), Failures(project.events)
    service = Service(
        project,
        live,
        metrics,
        Access(project.keys, project.events),
        failures,
        Limits(project.events),
        Repeats(project.events),
        _gateway(project, failures, metrics),
    )
    sessions = Sessions(project)
    batches = Worker(service)
    retention = Retention(project)
    sender = Sender(project, service.metrics)
    teller = Teller(project.settings.serve.telemetry, service.metrics, failures)
    watch = Watch(project, service.metrics.alerts)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        live.start()
        batches.start(asyncio.get_running_loop())
        retention.start()
        sender.start()
        watch.start()
        if service.gateway is not None:
            service.gateway.start()
        yield
        watch.close()
        sender.close()
        if service.gateway is not None:
            await service.gateway.close()
        retention.close()
        await asyncio.to_thread(batches.close)
        express.close()
        live.close()
        teller.close()

    app = _App(
        f"Feilun: {project.settings.project.name}",
        lifespan=lifespan,
        exception_handlers={RequestValidationError: _as_ours, HTTPException: _as_ours},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    app.state.batches = batches
    _add_pages(app)
    app.router.routes.extend(console_routes(project, sessions))
    policy.check(app.routes)
    direct = direct_routes(API)
    path = f"/v1/{live.task.use}"
    express = Express(service, teller, path, direct["POST", path])
    app.state.express = express
    app.add_middleware(
        Gate,
        service=service,
        sessions=sessions,
        host=host if host is not None else project.settings.serve.host,
        direct=direct,
        teller=teller,
        express=express,
    )
    return app


def _gateway(project: Project, failures: Failures, metrics: Metrics) -> Relay | None:
    if project.settings.serve.gateway is None:
        return None
    from feilun.service.gateway.relay import Relay

    return Relay(project, failures, metrics)


def _add_pages(app: FastAPI) -> None:
    for entry in PAGES:
        app.add_api_route(
            entry.path, entry.endpoint, methods=[entry.method], include_in_schema=False
        )


class _App(Documented):
    """The app, whose gate is the first of all: the framework puts layers of its own before what
    an app adds, one of which answers errors, which the gate does, and one of which looks for a
    tracer anew for each request, which cost as much as half of the rest."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """The gate and what is behind it."""
        stack: Any = super().build_middleware_stack()
        while not isinstance(stack, Gate):
            stack = stack.app
        return stack


async def _as_ours(_request: Request, error: Exception) -> Response:
    """Raises the framework's refusals as ours; the gate answers them like all others."""
    raise ours(error)
