from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from feilun.service import policy
from feilun.service.app import create_app
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
        if isinstance(rule.need, Scope):
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert answer.json()["error"]["code"] == "no_key"
        elif rule.need is Need.SESSION:
            assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
        else:
            assert answer.status_code in {200, 303, 401}  # 401: a sign-in without a key


@pytest.mark.parametrize("scope", list(Scope))
def test_a_key_opens_exactly_its_scope(running: Running, scope: Scope) -> None:
    key = running.project.keys.add("one", frozenset({scope}))
    for (method, path), rule in policy.TABLE.items():
        if isinstance(rule.need, Scope):
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            answer = running.client.request(method, path, headers=headers, content=b"{}")
            expected = {200, 422} if rule.need is scope else {403}
            assert answer.status_code in expected, (method, path)


def test_a_revoked_key_is_refused_within_a_second(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert running.client.get("/v1/models").status_code == 200
    running.project.keys.revoke(running.key.split("_")[1])
    remembered = running.service.access._known
    for digest, (key, until) in list(remembered.items()):
        remembered[digest] = (key, until - 1.0)
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
