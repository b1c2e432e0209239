from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
from itsdangerous import TimestampSigner
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles

from feilun.console.session import LASTS_SECONDS, Sessions
from feilun.service import app as service_app
from feilun.service import gate, policy
from feilun.service.access import Access, _Entry
from feilun.service.app import create_app
from feilun.service.buckets import Buckets
from feilun.service.policy import Need, Rule, UndeclaredRoute, rule_for
from feilun.team import Scope
from feilun.team.keys import EVERYDAY, StoredKey
from feilun.wheel.project import Project
from tests.conftest import write_project
from tests.evidence import Evidence
from tests.unit.client.live_server import Line, as_served, listening

from .conftest import Running

ANYTHING = {"accept": "application/json"}


def test_every_route_is_declared_and_every_declaration_has_a_route(
    trained_project: Project,
) -> None:
    app = create_app(trained_project)
    found = {(m, r.path) for r in app.routes for m in r.methods - {"HEAD"}}  # type: ignore[attr-defined]
    assert found == set(policy.TABLE)
    app.state.service.live.close()


def test_an_undeclared_route_keeps_the_app_from_being_built(
    running: Running, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    extras = [
        Route("/secret", lambda _request: PlainTextResponse("x")),
        Route("/healthz", lambda _request: PlainTextResponse("x"), methods=["DELETE"]),
        Mount("/files", StaticFiles(directory="/")),
        Route("/v1/models/{name}", lambda _request: PlainTextResponse("x")),
        WebSocketRoute("/socket", lambda _socket: None),
    ]
    routes = list(running.client.app.routes)  # type: ignore[attr-defined]
    for extra in extras:
        with pytest.raises(UndeclaredRoute):
            policy.check([*routes, extra])
    with pytest.raises(UndeclaredRoute, match="no route answers"):
        policy.check(routes[1:])
    real = service_app.console_routes
    for extra in extras:
        monkeypatch.setattr(
            service_app, "console_routes", lambda *given, more=extra: [*real(*given), more]
        )
        with pytest.raises(UndeclaredRoute):
            create_app(running.project)
    evidence(
        21,
        f"{len(extras)} of {len(extras)} kinds of undeclared routes kept the app from being built",
    )


def test_a_route_added_later_is_still_not_reachable(running: Running) -> None:
    running.client.app.router.routes.append(  # type: ignore[attr-defined]
        Route("/secret", lambda _request: PlainTextResponse("secret"))
    )
    assert running.client.get("/secret").status_code == 404


class Caller(NamedTuple):
    """Who asks: what they send, the scopes of their key (None: it is of no use), and those of the
    key that they are signed in to the console with (None: they are not)."""

    name: str
    authorization: str = ""
    cookie: str = ""
    scopes: frozenset[Scope] | None = None
    session: frozenset[Scope] | None = None


def callers(running: Running, other: Project) -> list[Caller]:
    """Everybody who may come: nobody, each scope, and every kind of key that is of no use."""
    keys, sessions, others = running.project.keys, Sessions(running.project), Sessions(other)
    revoked, rotated, old = keys.add("revoked"), keys.add("rotated"), keys.add("old")
    gone, foreign = keys.add("gone"), other.keys.add("foreign")

    def signed_in(key: str, at: Sessions = sessions) -> str:
        return f"{sessions.cookie}={at.sign_in(key, '')}"

    of_gone, erase = signed_in(gone), frozenset({Scope.READ, Scope.ERASE})
    with pytest.MonkeyPatch.context() as patch:
        late = int(time.time()) - LASTS_SECONDS - 60
        patch.setattr(TimestampSigner, "get_timestamp", lambda _signer: late)
        too_old = signed_in(old)
    for text in (revoked, gone):
        keys.revoke(text.split("_")[1])
    keys.rotate(rotated.split("_")[1], 0)
    expired = keys.add("expired", expires_at="2026-01-01T00:00:00.000000+00:00")
    unusable = {"expired": expired, "revoked": revoked, "rotated": rotated}
    unusable |= {"another project's": foreign, "invented": "fw_0123456789ab_" + "0" * 64}
    return [
        Caller("nobody"),
        Caller("no key", "Bearer"),
        Caller("no scheme", running.key),
        Caller("another scheme", "Basic eDp5"),
        *[Caller(name, f"Bearer {text}") for name, text in unusable.items()],
        *[
            Caller("+".join(sorted(own)), f"Bearer {keys.add('own', own)}", "", own)
            for own in (*(frozenset({one}) for one in Scope), frozenset(Scope))
        ],
        Caller("signed in", cookie=signed_in(running.key), session=EVERYDAY),
        Caller("signed in to erase", cookie=signed_in(keys.add("e", erase)), session=erase),
        Caller("signed in, key revoked since", cookie=of_gone),
        Caller("signed in too long ago", cookie=too_old),
        Caller("signed in elsewhere", cookie=signed_in(foreign, others)),
        Caller("forged session", cookie=signed_in(running.key)[:-1] + "!"),
    ]


def opened(rule: policy.Rule, caller: Caller) -> set[int]:
    """The refusals that the table declares for a caller; empty where it opens the route."""
    if isinstance(rule.need, Scope):
        if caller.scopes is None:
            return {401}
        return set() if rule.need in caller.scopes else {403}
    if rule.need is Need.KEY:
        return {401} if caller.scopes is None else set()
    if rule.need is Need.SESSION:
        if caller.session is None:
            # A key is no session: who is not signed in is sent to where one signs in.
            return {303}
        return {403} if rule.scope is not None and rule.scope not in caller.session else set()
    return set()


def mismatches(running: Running, everybody: list[Caller]) -> tuple[int, list[tuple[str, ...]]]:
    """How many cells of routes × callers were tried, and those that do not answer as declared."""
    wrong, cells = [], 0
    routes = {(m, r.path) for r in running.client.app.routes for m in r.methods}  # type: ignore[attr-defined]
    heads = {"nobody", "revoked", Scope.READ, "signed in"}
    for (method, path), caller in product(sorted(routes), everybody):
        if method == "HEAD" and caller.name not in heads:
            continue
        rule = policy.TABLE["GET" if method == "HEAD" else method, path]
        running.service.access._guesses = Buckets(10)
        headers = {**ANYTHING, "authorization": caller.authorization, "cookie": caller.cookie}
        if rule.body:
            headers["content-type"] = rule.body
        body = b"{}" if method == "POST" else b""
        answer = running.client.request(method, path, headers=headers, content=body)
        expected, cells = opened(rule, caller), cells + 1
        if expected:
            fits = answer.status_code in expected
        else:
            # Without a gateway, chats are answered 404; a form without a key is a 401.
            refused = {401, 403} - ({401} if path == "/console/sign-in" else set())
            sent_away = answer.headers.get("location") == "/console/sign-in"
            fits = answer.status_code not in refused and (
                not sent_away or path in {"/console/sign-out", "/"}
            )
        if expected == {401} and method != "HEAD":
            fits = fits and answer.json()["error"]["code"] in {"no_key", "mistyped_key"}
            fits = fits and answer.headers["www-authenticate"].startswith("Bearer")
        if not fits or (answer.status_code >= 500 and answer.status_code != 503):
            wrong.append((method, path, caller.name, str(answer.status_code)))
    return cells, wrong


@pytest.fixture
def everybody(running: Running, tmp_path: Path) -> Iterator[list[Caller]]:
    with Project.open(write_project(tmp_path / "other", [])) as other:
        yield callers(running, other)


def test_every_route_with_every_kind_of_key_answers_as_declared(
    running: Running, everybody: list[Caller], evidence: Evidence
) -> None:
    cells, wrong = mismatches(running, everybody)
    assert wrong == []
    assert cells >= len(policy.TABLE) * len(everybody)
    evidence(
        21,
        f"{cells:,} cells, {len(policy.TABLE)} routes (and HEAD) × {len(everybody)} kinds of "
        "callers (each scope, none, expired, revoked, rotated, of another project, sessions): "
        f"{len(wrong)} answered otherwise than the table says",
    )


def test_a_head_that_was_let_in_is_checked_again(running: Running, evidence: Evidence) -> None:
    """The server knows the heads of connections that are kept; what changes behind them counts."""
    keys, app = running.project.keys, running.client.app

    def changed(key: str) -> dict[str, Callable[[], object]]:
        identity = key.split("_")[1]
        return {
            "revoked": lambda: keys.revoke(identity),
            "rotated": lambda: keys.rotate(identity, 0),
            "expired": lambda: keys.limit(identity, expires_at="2026-01-01T00:00:00.000000+00:00"),
            "used up": lambda: keys.limit(identity, monthly=1),
        }

    told = {}
    with listening(app, as_served(app)) as port:  # type: ignore[arg-type]
        for what in changed("a_b"):
            key = keys.add(what)
            with Line(port) as line:
                plain = {"Host": "127.0.0.1", "Content_Type": "application/json"}
                ask = partial(line.ask, "POST /v1/classify", b'{"input": "x"}', **plain)
                own = f"Bearer {key}"
                assert [ask(Authorization=own) for _time in range(4)] == [200] * 4
                changed(key)[what]()
                running.service.access._loaded_at -= 1.0
                told[what] = ask(Authorization=own)
                others = keys.add("reads", frozenset({Scope.READ}))
                assert ask(Authorization=f"Bearer {others}") == 403
                assert ask(Authorization="Bearer x") == 401
                assert ask(Authorization=own, Host="evil.example") == 403
                assert ask(Authorization=own, Origin="http://evil.example") == 403
    assert told == {"revoked": 401, "rotated": 401, "expired": 401, "used up": 429}
    evidence(
        21,
        f"keys revoked, rotated, expired and used up behind a connection that is kept: "
        f"{len(told)} of {len(changed('a_b'))} refused once the second has passed for which keys "
        "are remembered",
    )


def test_a_weaker_gate_is_caught(
    running: Running,
    everybody: list[Caller],
    evidence: Evidence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The negative control: the same matrix, with one check less in the gate."""
    found = []
    some = [one for one in everybody if one.name in {"nobody", Scope.PREDICT, "revoked"}]
    real = running.service.access.check
    with monkeypatch.context() as patch:
        # What a key may do is not asked.
        patch.setattr(Access, "check", lambda _self, text, _scope, client: real(text, None, client))
        found.append(len(mismatches(running, some)[1]))
    with monkeypatch.context() as patch:
        # One route has lost its rule.
        rule = Rule(Need.PUBLIC)
        patch.setattr(
            gate.policy,
            "rule_for",
            lambda method, path: rule if path == "/v1/models" else rule_for(method, path),
        )
        found.append(len(mismatches(running, some)[1]))
    with monkeypatch.context() as patch:
        # A revoked key goes on.
        patch.setattr("feilun.team.keys.Key.open", lambda _key, _at: True)
        patch.setattr("feilun.service.access._entry", _without_end)
        running.service.access._changes = (-1, -1)
        running.service.access._loaded_at = -math.inf
        found.append(len(mismatches(running, some)[1]))
    assert all(found), found
    evidence.control(
        21,
        "the gate with scopes unasked, with one route made public, with revoked keys let in: "
        f"{found[0]}, {found[1]} and {found[2]} cells differed from the table",
    )


def _without_end(stored: StoredKey) -> _Entry:
    return _Entry(stored, math.inf, 0.0)


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
