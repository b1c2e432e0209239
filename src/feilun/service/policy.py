"""Who may ask for what: the one table of every path, and nothing outside it.

The gate looks a request up here before any route sees it. What is not in the table does not
exist, so a route that somebody forgot to declare cannot be reached; `check` also makes it
fail when the app is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from starlette.routing import BaseRoute, Route

from feilun.core.part import names
from feilun.service.errors import UnknownPath, WrongMethod
from feilun.team import Scope

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
LINES = "application/jsonl"


class Need(StrEnum):
    """What is asked for where no key's scope is."""

    PUBLIC = "public"
    KEY = "key"
    SESSION = "session"


class Rule(NamedTuple):
    """What a request must bring: a key with a scope, a console session or nothing; the media
    type of its body; whether people (`page`) or programs read the answer; whether the route
    itself reads the body as it arrives (`streamed`), within limits of its own; and the scope that
    the key of the session must have (`scope`)."""

    need: Need | Scope
    body: str | None = None
    page: bool = False
    streamed: bool = False
    scope: Scope | None = None


TABLE: dict[tuple[str, str], Rule] = {
    ("POST", "/v1/classify"): Rule(Scope.PREDICT, JSON),
    ("POST", "/v1/tag"): Rule(Scope.PREDICT, JSON),
    ("POST", "/v1/match"): Rule(Scope.PREDICT, JSON),
    ("POST", "/v1/regress"): Rule(Scope.PREDICT, JSON),
    ("POST", "/v1/embeddings"): Rule(Scope.PREDICT, JSON),
    ("POST", "/v1/chat/completions"): Rule(Scope.CHAT, JSON),
    ("POST", "/invocations"): Rule(Scope.PREDICT, JSON),
    ("POST", "/v1/batches"): Rule(Scope.PREDICT, LINES, streamed=True),
    ("GET", "/v1/batches"): Rule(Scope.PREDICT),
    ("GET", "/v1/batches/status"): Rule(Scope.PREDICT),
    ("GET", "/v1/batches/results"): Rule(Scope.PREDICT),
    ("POST", "/v1/batches/cancel"): Rule(Scope.PREDICT),
    ("POST", "/v1/feedback"): Rule(Scope.FEEDBACK, JSON),
    ("POST", "/v1/erase"): Rule(Scope.ERASE, JSON),
    ("GET", "/v1/erasures"): Rule(Scope.ERASE),
    ("GET", "/v1/models"): Rule(Scope.READ),
    ("GET", "/v1/monitor"): Rule(Scope.READ),
    ("GET", "/v1/monitor/weakest"): Rule(Scope.READ),
    ("GET", "/v1/queue"): Rule(Scope.READ),
    # Any key sees what it used; one with the scope read, what all did.
    ("GET", "/v1/usage"): Rule(Need.KEY),
    ("GET", "/v1/alerts"): Rule(Scope.READ),
    ("GET", "/v1/notify"): Rule(Scope.READ),
    ("GET", "/metrics"): Rule(Scope.READ),
    ("GET", "/healthz"): Rule(Need.PUBLIC),
    ("GET", "/readyz"): Rule(Need.PUBLIC),
    ("GET", "/ping"): Rule(Need.PUBLIC),
    ("GET", "/health"): Rule(Need.PUBLIC),
    ("GET", "/version"): Rule(Need.PUBLIC),
    ("GET", "/openapi.json"): Rule(Need.PUBLIC),
    ("GET", "/docs"): Rule(Need.PUBLIC, page=True),
    ("GET", "/"): Rule(Need.PUBLIC, page=True),
    ("GET", "/console"): Rule(Need.SESSION, page=True),
    ("GET", "/console/sign-in"): Rule(Need.PUBLIC, page=True),
    ("POST", "/console/sign-in"): Rule(Need.PUBLIC, FORM, page=True),
    ("POST", "/console/sign-out"): Rule(Need.SESSION, FORM, page=True),
    ("POST", "/console/privacy"): Rule(Need.SESSION, FORM, page=True, scope=Scope.ERASE),
    ("GET", "/console/static/console.css"): Rule(Need.PUBLIC),
    ("GET", "/console/static/wheel.svg"): Rule(Need.PUBLIC),
}
# A package's page is seen by who is signed in, like our own; it cannot ask for less.
TABLE |= {("GET", f"/console/{name}"): Rule(Need.SESSION, page=True) for name in names("page")}

_METHODS: dict[str, list[str]] = {}
for _method, _path in TABLE:
    _METHODS.setdefault(_path, []).append(_method)


class UndeclaredRoute(RuntimeError):
    """The app and the table differ; it is a mistake in the code, so it has no remedy for users."""


def rule_for(method: str, path: str) -> Rule:
    """The rule for a request; HEAD is answered as GET; raises `UnknownPath`, `WrongMethod`."""
    known = _METHODS.get(path)
    if known is None:
        raise UnknownPath(path)
    rule = TABLE.get(("GET" if method == "HEAD" else method, path))
    if rule is None:
        raise WrongMethod(method, path, [*known, *(["HEAD"] if "GET" in known else [])])
    return rule


def declared(path: str) -> bool:
    """Whether the table has the path under any method."""
    return path in _METHODS


def check(routes: Sequence[BaseRoute]) -> None:
    """Passes when the routes are exactly those of the table; raises `UndeclaredRoute`.

    Only plain routes are accepted: a mount or an included router answers paths that cannot be
    listed, so that no table could cover them.
    """
    found: set[tuple[str, str]] = set()
    for route in routes:
        if not isinstance(route, Route) or "{" in route.path:
            raise UndeclaredRoute(f"{route!r} cannot be listed in service/policy.py")
        methods = route.methods or {"(every method)"}
        found |= {(method, route.path) for method in methods if method != "HEAD"}
    for method, path in sorted(found - TABLE.keys()):
        raise UndeclaredRoute(f"{method} {path} is not declared in service/policy.py")
    for method, path in sorted(TABLE.keys() - found):
        raise UndeclaredRoute(f"{method} {path} is declared, but no route answers it")
