"""Other people's pages, and names that lead here but are not ours: refused on every route."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple

import pytest

from feilun.console.session import Sessions
from feilun.service import bodies, gate, policy
from feilun.service.gate import Gate
from feilun.service.policy import FORM, JSON, LINES
from feilun.team import Scope
from tests.evidence import Evidence

from .conftest import Running

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
HOSTS = (
    "evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:8000", "10.0.0.1",
    "[::2]", "[", "127.0.0.1@evil.example", "169.254.169.254",
)  # fmt: skip
PAGES = (
    {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://127.0.0.1:9000"},
    {"origin": "http://127.0.0.1:8000.evil.example"}, {"origin": "https://evil.example:8000"},
    {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "garbage"},
)  # fmt: skip
TYPES = (
    "", "text/plain", "multipart/form-data", "application/jsonx",
    "application/json; charset=utf-16", "text/json", ";;;",
)  # fmt: skip
"""The first three are what a page can send without asking; so is a form."""
REAL = {JSON: b"{}", FORM: b"key=x", LINES: b'{"input":"x"}\n'}


class Asked(NamedTuple):
    """A request of a foreign page or to a foreign name, and the status that must refuse it."""

    method: str
    path: str
    headers: dict[str, str]
    status: int


def foreign_hosts() -> Iterator[Asked]:
    """Every method on every route under two foreign names, and every name on every route."""
    for path in sorted({path for _method, path in policy.TABLE}):
        for method in METHODS:
            for host in HOSTS[:2]:
                yield Asked(method, path, {"host": host}, 403)
        for host in HOSTS[2:]:
            yield Asked("GET", path, {"host": host}, 403)


def foreign_pages() -> Iterator[Asked]:
    """Every route that changes anything, from every foreign page; elsewhere the method is wrong,
    whoever asks."""
    for path in sorted({path for _method, path in policy.TABLE}):
        for method in METHODS[2:]:
            known = (method, path) in policy.TABLE
            for page in PAGES if known else PAGES[:1]:
                yield Asked(method, path, page, 403 if known else 405)


def foreign_types() -> Iterator[Asked]:
    """Every route that takes a body, with bodies that a form or a page can send instead."""
    for (method, path), rule in sorted(policy.TABLE.items()):
        if rule.body is not None:
            others = {JSON, FORM, LINES} - {rule.body}
            for one in (*TYPES, *sorted(others)):
                yield Asked(method, path, {"content-type": one}, 415)


def let_in(running: Running, requests: Callable[[], Iterator[Asked]]) -> tuple[int, list[Asked]]:
    """How many requests were made, with a key and a session that may do everything, and those
    that were not refused as they must be."""
    key = running.project.keys.add("everything", frozenset(Scope))
    sessions = Sessions(running.project)
    own = {
        "authorization": f"Bearer {key}",
        "cookie": f"{sessions.cookie}={sessions.sign_in(key, '')}",
    }
    count, wrong = 0, []
    for asked in requests():
        rule = policy.TABLE.get((asked.method, asked.path))
        given = (rule.body if rule is not None else None) or JSON
        body = REAL[given] if asked.method not in {"GET", "HEAD", "TRACE"} else b""
        answer = running.client.request(
            asked.method,
            asked.path,
            headers={**own, "content-type": given, **asked.headers},
            content=body,
        )
        count += 1
        open_to_all = "access-control-allow-origin" in answer.headers
        if answer.status_code != asked.status or open_to_all:
            wrong.append(asked)
    return count, wrong


def test_other_names_are_refused_on_every_route(running: Running, evidence: Evidence) -> None:
    count, wrong = let_in(running, foreign_hosts)
    assert wrong == []
    for good in ("localhost:8000", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
        assert running.client.get("/healthz", headers={"host": good}).status_code == 200
    evidence(
        23,
        f"{count - len(wrong):,} of {count:,} requests under {len(HOSTS)} foreign names refused "
        f"(every route × {len(METHODS)} methods)",
    )


def test_other_pages_and_their_forms_are_refused(running: Running, evidence: Evidence) -> None:
    count, wrong = let_in(running, foreign_pages)
    assert wrong == []
    num_types, wrong_types = let_in(running, foreign_types)
    assert wrong_types == []
    ours = {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}
    assert running.client.post("/v1/classify", json={"input": "x"}, headers=ours).status_code == 200
    evidence(
        23,
        f"{count - len(wrong):,} of {count:,} requests of {len(PAGES)} foreign pages refused; "
        f"{num_types - len(wrong_types)} of {num_types} bodies as a form or as plain text",
    )


def test_without_the_checks_they_are_let_in(
    running: Running, evidence: Evidence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: each check taken out, the same requests."""
    found = []
    for place, name, requests in (
        (Gate, "_check_host", foreign_hosts),
        (gate, "_check_origin", foreign_pages),
        (bodies, "check_type", foreign_types),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, lambda *_given: None)
            some = partial(islice, requests(), 0, None, 5)
            count, wrong = let_in(running, some)
        assert len(wrong) > count / 4
        found.append(f"{len(wrong):,} of {count:,}")
    evidence.control(
        23,
        f"without the check of the name {found[0]} were not refused, of the page {found[1]}, of "
        f"the type {found[2]}",
    )
