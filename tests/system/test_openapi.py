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
WALKS, WALKS_LONG, STEPS = 15, 60, 8
EVERYTHING = "everything"
SECONDS = 240.0
"""For all; what is not begun by then fails the test, for it would prove nothing."""
ROLES = ["nobody", *KeyScope]
"""Of single requests, to which a role that may do everything would add none."""

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
        keys[EVERYTHING] = project.keys.add(EVERYTHING, frozenset(KeyScope))
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


def _generated(examples: int) -> settings:
    """So many, the same in every run."""
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


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

        @_generated(CASES)
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


def follow(url: str, document: dict[str, Any], key: str, walks: int) -> Counter[tuple[str, str]]:
    """Requests by operation and first digit of the status, where answers lead to further requests
    by the links of the document; raises the first failure of a check."""
    schema = schemathesis.openapi.from_dict(_patient(document))
    answers: Counter[tuple[str, str]] = Counter()
    checks = CHECKS.get_by_names(ASKED)
    linked: Any = schema.as_state_machine()

    class Walk(linked):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": {"authorization": f"Bearer {key}"}, "base_url": url}

        def after_call(self, response: Any, case: Any) -> None:
            answers[case.operation.label, str(response.status_code)[0]] += 1

        def validate_response(self, response: Any, case: Any, **_more: Any) -> None:
            case.validate_response(response, checks=checks)

    Walk.run(settings=_generated(walks))
    return answers


FOLLOWED = ["POST /v1/feedback", "GET /v1/batches/status", "GET /v1/batches/results"]


@pytest.mark.slow
def test_requests_that_follow_from_answers_find_none_either(
    fuzzed: Fuzzed, evidence: Evidence
) -> None:
    document, walks = fuzzed.app.openapi(), evidence.times(WALKS, WALKS_LONG)
    total = followed = 0
    for role, key in fuzzed.keys.items():
        answers = follow(fuzzed.url, document, key, walks)
        assert not [label for label, digit in answers if digit == "5"], role
        total += answers.total()
        followed += sum(answers[label, "2"] for label in FOLLOWED)
        if role == EVERYTHING:
            assert all(answers[label, "2"] for label in FOLLOWED)
    evidence(
        17,
        f"{total:,} requests in walks of {STEPS} steps along the links of the document, as "
        f"{len(fuzzed.keys)} roles: {followed:,} of them with an id from an answer before were "
        "answered 2xx, 0 5xx, every answer as documented",
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


class Forgetful:
    """A service that tells nothing of a batch that is there."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = False

        async def sent(message: Message) -> None:
            nonlocal found
            if message["type"] == "http.response.start":
                found = message["status"] == 200
                if found:
                    headers = [one for one in message["headers"] if one[0] != b"content-length"]
                    message = {**message, "headers": headers}
            elif found:
                message = {"type": "http.response.body", "body": b"{}"}
            await send(message)

        of_batch = scope.get("path") == "/v1/batches/status"
        await self._app(scope, receive, sent if of_batch else send)


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


@pytest.mark.slow
def test_a_drift_behind_an_answer_is_caught_by_following_it(
    fuzzed: Fuzzed, evidence: Evidence
) -> None:
    """The negative control: nobody finds the batch who does not follow the one who made it."""
    document, key = fuzzed.app.openapi(), fuzzed.keys[EVERYTHING]
    status = {"/v1/batches/status": document["paths"]["/v1/batches/status"]}
    with listening(Forgetful(fuzzed.app)) as port:
        url = f"http://127.0.0.1:{port}"
        single = fuzz(url, {**document, "paths": status}, key, 60)
        assert single["2"] == 0
        with pytest.raises((Failure, FailureGroup)):
            follow(url, document, key, WALKS)
    evidence.control(
        17,
        f"a service that tells nothing of a batch that is there: {single.total()} single requests "
        "did not find it, a walk did",
    )
