"""Whatever is sent, the answer is a 4xx in one shape, never a 5xx."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from feilun.service import bodies
from feilun.service.app import create_app
from feilun.service.errors import TooLarge, TooSlow
from feilun.wheel.project import Project

from .conftest import Running

JSON = {"content-type": "application/json"}
DEEP = b'{"input":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

MALFORMED = {
    "empty": (b"", 400),
    "no json": (b"input=x", 400),
    "half": (b'{"input": "x', 400),
    "two": (b'{"input":"x"}{"input":"x"}', 400),
    "bad utf-8": (b'{"input":"\xff\xfe"}', 400),
    "null byte": (b"\x00", 400),
    "nested too deep": (DEEP, 400),
    "huge number": (b'{"input":' + b"9" * 5000 + b"}", 400),
    "null": (b"null", 422),
    "list": (b"[]", 422),
    "text": (b'"x"', 422),
    "number": (b"1", 422),
    "no field": (b"{}", 422),
    "misspelt": (b'{"inputs":"x"}', 422),
    "one too many": (b'{"input":"x","model":"y"}', 422),
    "null input": (b'{"input":null}', 422),
    "number input": (b'{"input":1}', 422),
    "nan": (b'{"input":NaN}', 422),
    "empty list": (b'{"input":[]}', 422),
    "mixed list": (b'{"input":["x",1,null]}', 422),
    "object": (b'{"input":{"text":"x"}}', 422),
    "surrogate key": (b'{"\\ud800":"x"}', 422),
    "many fields": (json.dumps({str(n): n for n in range(50_000)}).encode(), 422),
    "many wrong items": (b'{"input":[' + b"1," * 500_000 + b"1]}", 422),
}


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/feedback"])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies(running: Running, name: str, path: str) -> None:
    body, status = MALFORMED[name]
    answer = running.client.post(path, content=body, headers=JSON)
    assert answer.status_code == status, answer.text[:300]
    error = answer.json()["error"]
    assert error["code"]
    assert error["message"]
    assert error["remedy"]
    assert len(answer.content) < 10_000


def test_every_field_is_listed(running: Running) -> None:
    answer = running.client.post("/v1/feedback", json={"kind": "praise", "valeu": 1})
    fields = {field["field"]: field["message"] for field in answer.json()["error"]["fields"]}
    assert set(fields) == {"prediction_id", "kind", "value", "valeu"}
    assert "value" in fields["valeu"]


def test_chunked_overflow_is_cut_at_the_limit(running: Running) -> None:
    sent = 0

    def chunks() -> object:
        nonlocal sent
        for _number in range(100):
            sent += 100_000
            yield b" " * 100_000

    answer = running.client.post("/v1/classify", content=chunks(), headers=JSON)  # type: ignore[arg-type]
    assert answer.status_code == 413


async def _never() -> dict[str, object]:
    await asyncio.sleep(60)
    raise AssertionError


def test_a_dripping_body_is_cut() -> None:
    with pytest.raises(TooSlow):
        asyncio.run(bodies.read(_never, 10, seconds=0.05))  # type: ignore[arg-type]
    assert not asyncio.run(bodies.discard(_never, 10))  # type: ignore[arg-type]
    for length in ("11", "9" * 40):
        with pytest.raises(TooLarge):
            bodies.check_length(length, 10)


def test_a_name_that_the_settings_give_is_answered(trained_project: Project) -> None:
    file = trained_project.root / "feilun.toml"
    named = '[serve]\nnames = ["Answers.example.org"]\n'
    file.write_text(file.read_text(encoding="utf-8") + named, encoding="utf-8")
    with (
        Project.open(trained_project.root) as project,
        TestClient(create_app(project), base_url="http://answers.example.org") as client,
    ):
        assert client.get("/healthz").status_code == 200
        other = client.get("/healthz", headers={"host": "www.answers.example.org"})
        assert other.status_code == 403


def test_security_headers_are_on_everything(running: Running) -> None:
    for path in ("/healthz", "/nowhere", "/docs", "/console/sign-in", "/console", "/v1/models"):
        headers = running.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_the_language_of_errors_follows_the_request(running: Running) -> None:
    from feilun.core.i18n import _, language

    seen = []

    async def look(*_given: object) -> object:
        seen.append(await asyncio.to_thread(language))
        raise RuntimeError

    running.service.access.check = look  # type: ignore[method-assign,assignment]
    for header in ("zh-CN,zh;q=0.9", "en", "de,zh;q=0.5"):
        running.client.get("/v1/models", headers={"accept-language": header})
    assert seen == ["zh", "en", "zh"]
    assert _("Not ready.")


FIELDS = ("input", "prediction_id", "kind", "value", "source", "idempotency_key")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=200),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(FIELDS, VALUES),
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=BODIES)
def test_no_body_makes_a_5xx(running: Running, body: bytes) -> None:
    for path in ("/v1/classify", "/v1/feedback"):
        answer = running.client.post(path, content=body, headers=JSON)
        assert answer.status_code < 500, body
        answer.json()


async def _drip() -> AsyncIterator[bytes]:
    yield b"{"


def test_plain_httpx_speaks_to_it_too(running: Running) -> None:
    async def ask() -> int:
        transport = httpx.ASGITransport(app=running.client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            headers = {**JSON, "authorization": f"Bearer {running.key}"}
            answer = await client.post("/v1/classify", content=_drip(), headers=headers)
            return answer.status_code

    assert asyncio.run(ask()) == 400
