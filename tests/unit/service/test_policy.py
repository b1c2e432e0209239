from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from feilun.service import policy
from feilun.service.app import create_app
from feilun.service.buckets import Buckets
from feilun.service.policy import Need, UndeclaredRoute
from feilun.team import Scope
from feilun.wheel.project import Project

from .conftest import Running

ANYTHING = {"accept": "application/json"}


def test_every_route_is_declared_and_every_declaration_has_a_route(
    trained_project: Project,
) -> None:
    app = create_app(trained_project)
    found = {(m, r.path) for r in app.routes for m in r.methods - {"HEAD"}}  # type: ignore[attr-defined]
    assert found == set(policy.TABLE)
    app.state.service.live.close()


@pytest.mark.parametrize(
    "extra",
    [
        Route("/secret", lambda _request: PlainTextResponse("x")),
        Route("/healthz", lambda _request: PlainTextResponse("x"), methods=["DELETE"]),
        Mount("/files", StaticFiles(directory="/")),
        Route("/v1/models/{name}", lambda _request: PlainTextResponse("x")),
    ],
)
def test_an_undeclared_route_keeps_the_app_from_being_built(running: Running, extra: Route) -> None:
    routes = list(running.client.app.routes)  # type: ignore[attr-defined]
    with pytest.raises(UndeclaredRoute):
        policy.check([*routes, extra])
    with pytest.raises(UndeclaredRoute, match="no route answers"):
        policy.check(routes[1:])


def test_a_route_added_later_is_still_not_reachable(running: Running) -> None:
    running.client.app.router.routes.append(  # type: ignore[attr-defined]
        Route("/secret", lambda _request: PlainTextResponse("secret"))
    )
    assert running.client.get("/secret").status_code == 404


@pytest.mark.parametrize(("method", "path"), sorted(policy.TABLE))
def test_without_a_key_only_what_is_public_answers(
    running: Running, method: str, path: str
) -> None:
    rule = policy.TABLE[method, path]
    for authorization in (
        "",
        "Bearer",
        "Bearer fw_0123456789ab_" + "0" * 64,
        "Basic eDp5",
        running.key,
    ):
        headers = {**ANYTHING, "authorization": authorization}
        if rule.body:
            headers["content-type"] = rule.body
        answer = running.client.request(method, path, headers=headers, content=b"{}")
        if isinstance(rule.need, Scope) or rule.need is Need.KEY:
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["error"]["code"] == "no_key"
        elif rule.need is Need.SESSION:
            assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
        else:
            assert answer.status_code in {200, 303, 401}  # 401: a sign-in without a key


def opened(rule: policy.Rule, scopes: frozenset[Scope] | None) -> set[int]:
    """The refusals that the table declares for a key with these scopes (None: no usable key);
    empty where it opens the route."""
    if isinstance(rule.need, Scope):
        if scopes is None:
            return {401}
        return set() if rule.need in scopes else {403}
    if rule.need is Need.KEY:
        return {401} if scopes is None else set()
    # A key is no session: who is not signed in is sent to where one signs in.
    return {303} if rule.need is Need.SESSION else set()


def test_every_route_with_every_kind_of_key_answers_as_declared(running: Running) -> None:
    keys = running.project.keys
    revoked = keys.add("revoked")
    keys.revoke(revoked.split("_")[1])
    rotated = keys.add("rotated")
    keys.rotate(rotated.split("_")[1], 0)
    callers: dict[str, frozenset[Scope] | None] = {
        "": None,
        keys.add("expired", expires_at="2026-01-01T00:00:00.000000+00:00"): None,
        revoked: None,
        rotated: None,
        **{keys.add(scope, frozenset({scope})): frozenset({scope}) for scope in Scope},
        running.key: keys.check(running.key).scopes,
    }
    for (method, path), rule in policy.TABLE.items():
        for text, scopes in callers.items():
            running.service.access._guesses = Buckets(10)
            headers = {**ANYTHING, "authorization": f"Bearer {text}" if text else ""}
            if rule.body:
                headers["content-type"] = rule.body
            answer = running.client.request(method, path, headers=headers, content=b"{}")
            expected = opened(rule, scopes)
            where = (method, path, scopes, answer.status_code)
            if expected:
                assert answer.status_code in expected, where
            else:
                assert answer.status_code not in {401, 403} or path == "/console/sign-in", where
            assert answer.status_code < 500 or answer.status_code == 503, where


def test_the_document_says_which_routes_need_a_key(running: Running) -> None:
    paths = running.client.get("/openapi.json").json()["paths"]
    for (method, path), rule in policy.TABLE.items():
        said = paths.get(path, {}).get(method.lower())
        if said is not None:
            needs_key = rule.need is not Need.PUBLIC
            assert bool(said.get("security")) == needs_key, path
            assert ({"401", "429"} <= said["responses"].keys()) == needs_key, path


def test_a_revoked_key_is_refused_within_a_second(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.client.get("/v1/models").status_code == 200
    running.project.keys.revoke(running.key.split("_")[1])
    running.service.access._loaded_at -= 1.0
    assert running.client.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/",
        "//v1/models",
        "/V1/models",
        "/v1/%2e%2e/metrics",
        "/console/static/../session.py",
        "/console/static/%2e%2e%2fpages.py",
        "/docs/oauth2-redirect",
        "/redoc",
        "/.feilun/pepper",
        "/%00",
    ],
)
def test_what_is_not_in_the_table_does_not_exist(running: Running, path: str) -> None:
    assert running.client.get(path).status_code == 404


def test_wrong_methods_are_told_the_right_ones(running: Running) -> None:
    answer = running.client.get("/v1/classify")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW"):
        assert running.client.request(method, "/v1/models").status_code == 405
    assert running.client.head("/healthz").status_code == 200


def test_no_websocket(running: Running) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), running.client.websocket_connect("/v1/classify"):
        pass
