"""The gate that every request passes: language, host, policy, origin, key, body; then the app.

It is plain ASGI, in one piece, because the order matters: nothing of a request's body is read
before its sender may send it, and whatever goes wrong, in here or behind, becomes an answer in
one place.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import TypeVar
from urllib.parse import parse_qs

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from feilun.console import pages
from feilun.console.session import Sessions
from feilun.core.errors import FeilunError
from feilun.core.i18n import LANGUAGES, accepted, speak
from feilun.service import bodies, errors, policy
from feilun.service.answering import Service
from feilun.service.direct import Direct
from feilun.service.errors import TooLarge, WrongHost, WrongOrigin
from feilun.service.express import Express
from feilun.service.headers import SECURITY, Headers
from feilun.service.policy import Need, Rule
from feilun.service.telemetry import asked_now, begin
from feilun.service.telemetry.answered import Teller
from feilun.service.telemetry.traces import Finished
from feilun.team import Key
from feilun.team import Scope as KeyScope
from feilun.team.keys import ScopeMissing

LANGUAGE_COOKIE = "feilun_lang"
SAFE = frozenset({"GET", "HEAD"})
D = TypeVar("D")
_KNOWN_HOSTS = 64
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ANY = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # compared with, not bound to


class Gate:
    """The outermost ASGI middleware; `host` is the address that the server is bound to; `direct`
    are the routes that it calls itself; `teller` is told of every answer, `express` of the heads
    that it let through."""

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        sessions: Sessions,
        host: str,
        direct: Mapping[tuple[str, str], Direct],
        teller: Teller,
        express: Express | None = None,
    ) -> None:
        self._app = app
        self._express = express
        self._direct = direct
        self._teller = teller
        self._good_hosts: set[str] = set()
        self._service = service
        self._sessions = sessions
        names = service.project.settings.serve.names
        self._hosts = _LOOPBACK | {name.lower() for name in (host, *names)}
        self._any_address = host in _ANY
        if self._any_address:
            self._hosts |= {socket.gethostname().lower()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = Headers(scope)
        asked = begin(headers.get("x-request-id"))
        cookies = _cookies(headers.get("cookie", ""))
        wish = _wish(scope)
        language = (
            wish
            or cookies.get(LANGUAGE_COOKIE)
            or ("accept-language" in headers and accepted(headers["accept-language"]))
        )
        sender = _Sender(send, wish, asked.shown)
        code = ""
        with speak(language if language in LANGUAGES else None):
            try:
                await self._pass(scope, receive, sender, headers, cookies)
                if self._express is not None and sender.status == 200:
                    self._learn(self._express, scope, headers)
            except Exception as error:
                problem = errors.ours(error)
                code = problem.code
                if not sender.status:
                    await _refusal(problem, scope)(scope, receive, sender)
        path, method = scope["path"], scope["method"]
        route = path if policy.declared(path) else "other"
        known = method if method in {"GET", "HEAD", "POST"} else "other"
        parent, state = headers.get("traceparent"), headers.get("tracestate")
        ended = time.perf_counter()
        self._teller.tell(
            asked, Finished(known, route, sender.status, started, ended, code, parent, state)
        )

    @staticmethod
    def _learn(express: Express, scope: Scope, headers: Headers) -> None:
        head = scope.get("extensions", {}).get("feilun.head")
        if head is not None:
            express.learn(head, scope, headers)

    async def _pass(
        self,
        scope: Scope,
        receive: Receive,
        send: _Sender,
        headers: Headers,
        cookies: dict[str, str],
    ) -> None:
        method = scope["method"]
        rule: Rule | None = None
        body = None
        try:
            self._check_host(headers)
            rule = policy.rule_for(method, scope["path"])
            if method not in SAFE:
                _check_origin(headers)
            state = scope.setdefault("state", {})
            if isinstance(rule.need, KeyScope) or rule.need is Need.KEY:
                state["key"] = await self._admit(scope, headers, rule.need, send)
            elif rule.need is Need.SESSION:
                state["session"] = await self._sessions.check(cookies)
                if state["session"] is None:
                    await RedirectResponse("/console/sign-in", 303)(scope, receive, send)
                    return
                if rule.scope is not None and rule.scope not in state["session"].scopes:
                    raise ScopeMissing(rule.scope)
            if rule.body is not None:
                limit = self._service.project.settings.serve.max_body_bytes
                bodies.check_type(headers.get("content-type", ""), rule.body)
                if not rule.streamed:
                    bodies.check_length(headers.get("content-length"), limit)
                    body = await _body(scope, receive, limit)
        except FeilunError:
            send.close = await self._unread(receive, headers)
            raise
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        if body is not None:
            receive = bodies.replay(body, receive)
        direct = self._direct.get((inner["method"], inner["path"]))
        if direct is None:
            await self._app(inner, receive, send)
        else:
            await direct(inner, receive, send, body or b"", headers)

    async def _admit(
        self, scope: Scope, headers: Headers, need: Need | KeyScope, send: _Sender
    ) -> Key:
        """The key of a request that it may send; its answer says what more it may."""
        key = await self._service.access.check(
            headers.get("authorization", ""),
            need if isinstance(need, KeyScope) else None,
            scope["client"][0] if scope.get("client") else "",
        )
        asked = asked_now()
        if asked is not None:
            asked.key = key.id
        admission = self._service.limits.admit(key)
        send.more = admission.headers
        if admission.error is not None:
            raise admission.error
        return key

    async def _unread(self, receive: Receive, headers: Headers) -> bool:
        """Whether a refused request's body is still on its way, so that the connection cannot
        be used again."""
        sends = headers.get("transfer-encoding") or headers.get("content-length", "0") != "0"
        if not sends:
            return False
        if "100-continue" in headers.get("expect", "").lower():
            return True
        limit = self._service.project.settings.serve.max_body_bytes
        return not await bodies.discard(receive, limit)

    def _check_host(self, headers: Headers) -> None:
        given = headers.get("host", "")
        if given in self._good_hosts:
            return
        name = _host_name(given)
        if name in self._hosts or (self._any_address and _is_address(name)):
            if len(self._good_hosts) < _KNOWN_HOSTS:
                self._good_hosts.add(given)
            return
        # A name in the Host header that is not ours means DNS rebinding: a page made the
        # browser believe that its own name leads here. An address cannot be rebound.
        raise WrongHost(given)


class _Sender:
    """`send`, with the security headers, the request's id, and the status remembered."""

    def __init__(self, send: Send, remember: str | None, request: str) -> None:
        self._send = send
        self._remember = remember
        self._request = (b"x-request-id", request.encode())
        self.status = 0
        self.close = False
        self.more: tuple[tuple[bytes, bytes], ...] = ()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *self.more, self._request]
            given = {name for name, _value in headers}
            headers += [header for header in SECURITY if header[0] not in given]
            if self._remember is not None:
                cookie = f"{LANGUAGE_COOKIE}={self._remember}; Path=/; Max-Age=31536000"
                headers.append((b"set-cookie", f"{cookie}; SameSite=Lax".encode()))
            if self.close:
                headers.append((b"connection", b"close"))
            message["headers"] = headers
        await self._send(message)


def _refusal(problem: FeilunError, scope: Scope) -> Response:
    """The problem as a page where people look, as JSON everywhere else."""
    rule = policy.TABLE.get((scope["method"], scope["path"]))
    wants_page = "text/html" in Headers(scope).get("accept", "")
    if rule.page if rule is not None else wants_page:
        return pages.problem(
            problem, errors.status_of(problem), errors.headers_of(problem), scope["path"]
        )
    return errors.answer(problem)


def _check_origin(headers: Headers) -> None:
    """Passes what no page sent, or a page of ours; raises `WrongOrigin`."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        raise WrongOrigin(headers.get("origin", site))
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
        raise WrongOrigin(origin)


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body: at once where it has arrived (see `Exchange.whole`), else as it comes."""
    whole = scope.get("extensions", {}).get("feilun.whole")
    body: bytes | None = whole() if whole is not None else None
    if body is None:
        return await bodies.read(receive, limit)
    if len(body) > limit:
        raise TooLarge(limit)
    return body


def _host_name(host: str) -> str:
    """The name or address in a Host header, without port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _wish(scope: Scope) -> str | None:
    """The language that `?lang=` asks for."""
    query = scope["query_string"]
    if b"lang=" not in query or len(query) > 1000:
        return None
    wished = parse_qs(query.decode("latin-1"), max_num_fields=20).get("lang", [""])[-1]
    return wished if wished in LANGUAGES else None


def _cookies(header: str) -> dict[str, str]:
    if not header:
        return {}
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(header).items()}
    except CookieError:
        return {}
