"""The whole OpenAPI document, fuzzed as every role: never a 5xx, never an answer that is not
documented. Bounded in cases and in time; what is generated is the same in every run."""

from __future__ import annotations

import copy
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import Failure, FailureGroup
from starlette.types import Message, Receive, Scope, Send
from tests.evidence import Evidence
from tests.unit.client.live_server import listening

from feilun.service.app import create_app
from feilun.team import Scope as KeyScope
from feilun.wheel.project import Project

CASES = 12
"""Of each operation, as each role."""
SECONDS = 240.0
"""For all; what is not begun by then fails the test, for it would prove nothing."""
ROLES = ["nobody", *KeyScope]

load_all_checks()
# What a route answers to a request must be a status, a media type, headers and a body that its
# documentation has. Whether a body of random text is *accepted* is not asked: ids must exist.
ASKED = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]


@schemathesis.serializer("application/jsonl")
def lines(_context: Any, value: Any) -> bytes:
    """Whatever was generated for a batch's body: text."""
    return str(value).encode("utf-8", "replace")


@schemathesis.deserializer("application/jsonl", "text/plain", "text/event-stream")
def text(_context: Any, response: Any) -> str:
    """Answers that are text are checked as text."""
    return str(response.content.decode())


class Fuzzed(NamedTuple):
    """A service on a real port, and a key for each role."""

    app: FastAPI
    url: str
    keys: dict[str, str]


@pytest.fixture(scope="module")
def fuzzed(trained_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder = shutil.copytree(trained_template, tmp_path_factory.mktemp("fuzzed") / "reviews")
    with Project.open(folder) as project:
        keys = {scope.value: project.keys.add(scope, frozenset({scope})) for scope in KeyScope}
        app = create_app(project)
        with listening(app) as port:
            yield Fuzzed(app, f"http://127.0.0.1:{port}", keys)


def _patient(document: dict[str, Any]) -> dict[str, Any]:
    """The document, without wishes for an answer in no time, which are rightly not granted."""
    document = copy.deepcopy(document)
    for verbs in document["paths"].values():
        for said in verbs.values():
            for parameter in said.get("parameters", ()):
                if parameter["name"] == "X-Request-Timeout-Seconds":
                    parameter["schema"] = {"type": "integer", "minimum": 60, "maximum": 3600}
    return document


def fuzz(url: str, document: dict[str, Any], key: str | None, seconds: float) -> Counter[str]:
    """Cases by the first digit of their answer's status; raises the first failure of a check."""
    schema = schemathesis.openapi.from_dict(_patient(document))
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answers: Counter[str] = Counter()
    until = time.monotonic() + seconds
    checks = CHECKS.get_by_names(ASKED)
    for found in schema.get_all_operations():
        operation = found.ok()
        assert operation is not None

        @settings(
            max_examples=CASES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def run(case: Any) -> None:
            assert time.monotonic() < until, "too slow to have fuzzed it all"
            response = case.call(headers=headers, base_url=url)
            answers[str(response.status_code)[0]] += 1
            case.validate_response(response, checks=checks)

        run()
    return answers


@pytest.mark.slow
def test_no_role_finds_a_5xx_or_an_undocumented_answer(fuzzed: Fuzzed, evidence: Evidence) -> None:
    document = fuzzed.app.openapi()
    operations = sum(map(len, document["paths"].values()))
    answers: Counter[str] = Counter()
    for role in ROLES:
        own = fuzz(fuzzed.url, document, fuzzed.keys.get(role), SECONDS)
        assert own["5"] == 0, role
        assert own.total() >= operations, role
        assert own["4"] > 0, role
        if role == "nobody":
            assert own["2"] > 0  # the health checks
        answers += own
    evidence(
        17,
        f"{answers.total():,} generated requests to {operations} operations as {len(ROLES)} roles: "
        f"{answers['2']:,} answered 2xx, {answers['4']:,} refused 4xx, {answers['5']} 5xx, every "
        "answer as documented (status, media type, headers, body)",
    )


class Drifted:
    """A service that answers something else than is documented."""

    def __init__(self, status: int, body: bytes, media: bytes) -> None:
        self._told = (status, body, media)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
            return
        status, body, media = self._told
        headers = [(b"content-type", media), (b"x-request-id", b"r_0")]
        start: Message = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})


DRIFTS = [
    (500, b"{}", b"application/json"),
    (418, b'{"status": "ok"}', b"application/json"),
    (200, b'{"status": "fine"}', b"application/json"),
    (200, b'{"state": "ok"}', b"application/json"),
    (200, b"ok", b"text/html"),
]


@pytest.mark.slow
def test_a_route_that_drifts_is_caught(fuzzed: Fuzzed, evidence: Evidence) -> None:
    """The negative control: each kind of drift fails the same run."""
    document = fuzzed.app.openapi()
    alone = {**document, "paths": {"/healthz": document["paths"]["/healthz"]}}
    assert fuzz(fuzzed.url, alone, None, 60).total() > 0
    caught = 0
    for drift in DRIFTS:
        with listening(Drifted(*drift)) as port, pytest.raises((Failure, FailureGroup)):
            fuzz(f"http://127.0.0.1:{port}", alone, None, 60)
        caught += 1
    evidence.control(
        17,
        f"a service that answers 500, an undocumented status, body, field or media type: {caught} "
        f"of {len(DRIFTS)} kinds of drift failed the run",
    )
