"""Serve: the routes of MLflow's scoring server, for clients and platforms that expect one."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from feilun.core.i18n import N_
from feilun.service.errors import NotReady, json_response
from feilun.service.invocations import InvocationsAnswer, InvocationsRequest, in_mlflow_shape
from feilun.service.routes.entry import TEXT, Entry, service_of
from feilun.service.routes.serve import ERRORS, answered
from feilun.service.shapes import State
from feilun.version import __version__


async def invocations(request: Request, body: InvocationsRequest) -> Response:
    """Predictions for a table of inputs, in MLflow's shapes."""
    use = service_of(request).live.task.use
    inputs = body.rows(pairs=use == "match")
    return await answered(request, use, inputs, None, in_mlflow_shape)


async def ping(request: Request) -> Response:
    """200 while requests are answered, else 503."""
    return _ready(request)


async def health(request: Request) -> Response:
    """As `ping`."""
    return _ready(request)


async def version(request: Request) -> Response:
    """The version of this software."""
    return Response(__version__, media_type="text/plain")


def _ready(request: Request) -> Response:
    if not service_of(request).live.ready:
        raise NotReady()
    return json_response({"status": "ready"})


ENTRIES = (
    Entry(
        "POST",
        "/invocations",
        invocations,
        "serve",
        N_("Predict as MLflow's server does"),
        N_(
            "Takes `inputs`, `instances`, `dataframe_split` or `dataframe_records` and answers "
            "`predictions`, as `mlflow models serve` does for the exported model; each is stored "
            "before it is answered, like those of the task's own route."
        ),
        InvocationsAnswer,
        ERRORS,
        timed=True,
        named=True,
    ),
    Entry(
        "GET",
        "/ping",
        ping,
        "monitor",
        N_("Are requests answered? (MLflow's and SageMaker's path)"),
        N_("200 while requests are answered; 503 without a model, on a full disk, at shutdown."),
        State,
        (503,),
    ),
    Entry(
        "GET",
        "/health",
        health,
        "monitor",
        N_("Are requests answered? (MLflow's path)"),
        N_("200 while requests are answered; 503 without a model, on a full disk, at shutdown."),
        State,
        (503,),
    ),
    Entry(
        "GET",
        "/version",
        version,
        "monitor",
        N_("Which version is this?"),
        N_("The version of Feilun, as text."),
        media=TEXT,
    ),
)
