"""Paths that lead out of where they should, in every place of a request that takes text."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlencode

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.evidence import Evidence
from tests.unit.client.live_server import Line, as_served, listening

from feilun.console.session import Sessions
from feilun.service import policy
from feilun.service.app import create_app
from feilun.service.policy import FORM, JSON, LINES
from feilun.team import Scope
from feilun.wheel.project import Project

NAME, CONTENT = "zqxj-secret.txt", "zqxj: nobody should read this"
UPS = {
    "plain": "../", "slash encoded": "..%2f", "dots encoded": "%2e%2e/", "all": "%2e%2e%2f",
    "twice": "%252e%252e%252f", "backslash": "..\\", "backslash encoded": "..%5c",
    "too long in UTF-8": "%c0%ae%c0%ae%c0%af", "doubled": "....//", "with a parameter": "..;/",
    "full width": "．．／", "one dot more": ".../", "NUL": "..%00/",
}  # fmt: skip
DEPTHS = (1, 2, 3, 5, 8)
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/erase"): {"subject": "x", "texts": ["xxxx"]},
    ("POST", "/console/privacy"): {"subject": "x", "texts": "xxxx", "sure": "yes"},
    ("POST", "/v1/classify"): {"input": ["x"], "subject": "x"},
    ("POST", "/v1/tag"): {"input": ["x"]},
    ("POST", "/v1/match"): {"input": {"first": "x", "second": "x"}},
    ("POST", "/v1/regress"): {"input": ["x"]},
    ("POST", "/v1/embeddings"): {"input": ["x"], "model": "x", "encoding_format": "float"},
    ("POST", "/v1/chat/completions"): {
        "model": "x", "messages": [{"role": "user", "content": "x"}], "user": "x",
    },
    ("POST", "/invocations"): {"inputs": ["x"]},
    ("POST", "/v1/batches"): {
        "custom_id": "x", "method": "POST", "url": "/v1/classify", "body": {"input": "x"},
    },
    ("POST", "/v1/feedback"): {
        "prediction_id": "x", "kind": "comment", "value": "x", "source": "x",
        "idempotency_key": "x", "subject": "x",
    },
    ("POST", "/console/sign-in"): {"key": "x"},
    ("POST", "/console/sign-out"): {"key": "x"},
}  # fmt: skip
"""A body of every route that takes one, each of whose texts is tried."""
HEADERS = (
    "X-Request-Id", "Idempotency-Key", "Accept-Language", "Cookie", "X-Request-Timeout-Seconds",
)  # fmt: skip
SLOW = {"/v1/erase", "/console/privacy"}
"""Each erasure rewrites the log; they are tried with fewer spellings."""


@cache
def payloads() -> list[str]:
    """Every encoding at every depth, and absolute names."""
    climbing = [up * depth + NAME for up in UPS.values() for depth in DEPTHS]
    absolute = [f"/{NAME}", "/etc/passwd", "file:///etc/passwd", "/proc/self/environ", "C:\\x"]
    return climbing + absolute


class Sent(NamedTuple):
    """A request, and where in it the path stands."""

    first: str
    place: str
    body: bytes = b""
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed


def in_paths() -> Iterator[Sent]:
    """In the place of each part of every path, and behind every path."""
    prefixes = set()
    for path in {path for _method, path in policy.TABLE}:
        parts = path.split("/")
        prefixes |= {"/".join(parts[:end]) for end in range(1, len(parts) + 1)}
    for prefix in sorted(prefixes):
        for payload in payloads():
            raw = payload if payload.isascii() else urlencode({"": payload})[1:]
            yield Sent(f"GET {prefix}/{raw.lstrip('/')}".replace("\\", "%5c"), "path")


def in_queries(document: dict[str, Any]) -> Iterator[Sent]:
    """In every query parameter that is documented, in `lang`, and in one that nobody knows."""
    for (method, path), rule in policy.TABLE.items():
        said = document["paths"].get(path, {}).get(method.lower(), {})
        names = [one["name"] for one in said.get("parameters", ()) if one["in"] == "query"]
        body = b"{}" if rule.body else b""
        for name in (*names, "lang", "file"):
            known = name in names
            for payload in payloads() if known else payloads()[::35]:
                query = urlencode({name: unquote(payload, errors="replace")})
                headers = {"Content-Type": rule.body} if rule.body else {}
                yield Sent(f"{method} {path}?{query}", f"query of {path}", body, headers)


def in_bodies() -> Iterator[Sent]:
    """In every text of every body."""
    for (method, path), whole in BODIES.items():
        kind = policy.TABLE[method, path].body
        assert kind is not None
        for payload in payloads()[:: 30 if path in SLOW else 1]:
            for body in _replaced(whole, unquote(payload, errors="replace")):
                written = urlencode(body) if kind == FORM else json.dumps(body)
                yield Sent(
                    f"{method} {path}", f"body of {path}", written.encode(), {"Content-Type": kind}
                )


def in_headers() -> Iterator[Sent]:
    """In headers that mean something."""
    for name in HEADERS:
        for payload in payloads():
            if payload.isascii():
                body, headers = b'{"input": "x"}', {"Content-Type": JSON, name: payload}
                yield Sent("POST /v1/classify", f"header {name}", body, headers)


def _replaced(value: Any, text: str) -> Iterator[Any]:
    """The value, each time with another of its texts replaced."""
    if isinstance(value, str):
        yield text
    elif isinstance(value, (dict, list)):
        for place in value if isinstance(value, dict) else range(len(value)):
            for one in _replaced(value[place], text):
                changed = copy.copy(value)
                changed[place] = one
                yield changed


class Opened:
    """The files that this process opens while it looks, of those that nobody should."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._looks = False
        # There is no taking away of an audit hook; it does nothing when it does not look.
        sys.addaudithook(self._hook)

    def __enter__(self) -> list[str]:
        self._looks = True
        return self.found

    def __exit__(self, *_error: object) -> None:
        self._looks = False

    def _hook(self, event: str, given: tuple[Any, ...]) -> None:
        if self._looks and event in {"open", "os.listdir", "os.scandir"}:
            name = str(given[0])
            if NAME in name or name.startswith(("/etc/passwd", "/proc/self/environ")):
                self.found.append(name)


@pytest.fixture(scope="module")
def opened() -> Opened:
    return Opened()


class Found(NamedTuple):
    """What came of many requests: how many by place, those that were answered with the content
    of a file, and those that were a 5xx."""

    tried: Counter[str]
    read: list[str]
    failed: list[str]


def sent(port: int, requests: Iterator[Sent], headers: dict[str, str]) -> Found:
    found = Found(Counter(), [], [])
    with Line(port) as line:
        for one in requests:
            status, content = line.said(one.first, one.body, **{**headers, **one.headers})
            found.tried[one.place] += 1
            if CONTENT.encode() in content or b"root:x:0:0" in content or b"PATH=" in content:
                found.read.append(one.first)
            if status >= 500 and status != 503:
                found.failed.append(one.first)
            if one.place == "path" and status not in {400, 404} and NAME in one.first:
                found.failed.append(f"{one.first}: {status}")
    return found


@pytest.fixture
def planted(trained_template: Path, tmp_path: Path) -> Path:
    """A project, in and above which every folder has a file that nobody should read."""
    folder = Path(shutil.copytree(trained_template, tmp_path / "a" / "b" / "reviews"))
    for place in (tmp_path, tmp_path / "a", tmp_path / "a" / "b", folder, folder / ".feilun"):
        (place / NAME).write_text(CONTENT)
    return folder


def test_nothing_outside_is_read(planted: Path, opened: Opened, evidence: Evidence) -> None:
    assert BODIES.keys() == {place for place, rule in policy.TABLE.items() if rule.body}
    assert {rule.body for rule in policy.TABLE.values()} == {JSON, FORM, LINES, None}
    with Project.open(planted) as project:
        key = project.keys.add("everything", frozenset(Scope))
        sessions = Sessions(project)
        own = {
            "Host": "127.0.0.1",
            "Authorization": f"Bearer {key}",
            "Cookie": f"{sessions.cookie}={sessions.sign_in(key, '')}",
        }
        app: FastAPI = create_app(project)
        document = app.openapi()
        tried, failed = Counter[str](), 0
        with listening(app, as_served(app)) as port, opened as files:
            for requests in (in_paths(), in_queries(document), in_bodies(), in_headers()):
                found = sent(port, requests, own)
                assert (found.read, found.failed) == ([], [])
                tried += found.tried
                failed += len(found.failed)
    assert files == []
    evidence(
        20,
        f"{tried.total():,} requests with {len(UPS)} encodings × {len(DEPTHS)} depths and absolute "
        f"names in {len(tried)} places (paths, queries, bodies, headers, forms): {len(files)} "
        f"files outside opened, {failed} 5xx",
    )


def test_a_route_that_reads_what_it_is_told_is_caught(
    planted: Path, opened: Opened, evidence: Evidence
) -> None:
    """The negative control."""
    folder = planted / ".feilun" / "static"
    folder.mkdir()

    def read(request: Request) -> Response:
        raw = request.scope["raw_path"].decode().removeprefix("/console/static/")
        query = parse_qs(request.url.query)
        name = query["id"][0] if "id" in query else unquote(raw)
        try:
            return PlainTextResponse((folder / name).read_text())
        except (OSError, ValueError):
            return PlainTextResponse("no", 404)

    app = Starlette(routes=[Route("/{path:path}", read)])
    tried = [one for one in in_paths() if one.first.startswith("GET /console/static/")]
    tried += [
        Sent(f"GET /v1/batches/status?{urlencode({'id': unquote(payload)})}", "query")
        for payload in payloads()
    ]
    with listening(app) as port, opened as files:
        found = sent(port, iter(tried), {"Host": "127.0.0.1"})
    assert len(found.read) > 20
    assert len(files) >= len(found.read)
    evidence.control(
        20,
        f"a route that reads the file it is told: {len(found.read)} of {len(tried)} requests were "
        f"answered with a file from outside, and {len(files)} tries to open one were seen",
    )
