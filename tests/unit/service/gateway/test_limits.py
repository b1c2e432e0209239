"""What the gateway refuses by itself, and how it bears many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.unit.core.chat_server import Reply, chunk, completion, streamed

from ..conftest import Running
from .conftest import Start, events


def test_without_a_gateway_it_says_so(running: Running) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    answer = running.client.post("/v1/chat/completions", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_gateway")


def test_our_own_models_do_not_chat(start: Start) -> None:
    with start(lambda body, n: completion("ja")) as gateway:
        for model in ("live", "model/3", "model/live", "sha256:abc"):
            error = gateway.chat("hi", model=model).json()["error"]
            assert (error["code"], error["param"]) == ("own_model", "model")
            assert error["remedy"] == "POST /v1/classify"
        assert gateway.upstream.requests == []


def test_only_the_models_that_are_offered(start: Start) -> None:
    with start(lambda body, n: completion("ja"), models={"small": "x", "live": "y"}) as gateway:
        answer = gateway.chat("hi", model="gpt")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
        assert "small" in answer.json()["error"]["remedy"]
        assert gateway.chat("hi", model="live").status_code == 200
        assert gateway.sent()["model"] == "y"


def nested(depth: int) -> Any:
    value: Any = "x"
    for _level in range(depth):
        value = [value]
    return value


ODD: list[tuple[dict[str, Any], int]] = [
    ({}, 422), ({"model": "m"}, 422), ({"model": "m", "messages": []}, 422),
    ({"model": "", "messages": [{"role": "user"}]}, 422),
    ({"model": "m", "messages": ["hi"]}, 422), ({"model": "m", "messages": "hi"}, 422),
    ({"model": "m", "messages": [{"role": 5}]}, 422),
    ({"model": "m", "messages": [{"role": "user"}], "stream": "often"}, 422),
    ({"model": "m", "messages": [{"role": "user"}], "stop": nested(60)}, 422),
    ({f"f{n}": 1 for n in range(100)}, 422),
    ({"model": "m", "messages": [{"role": "user", "content": None}]}, 200),
    ({"model": "m", "messages": [{"role": "user", "content": [3, "x"]}]}, 200),
    ({"model": "m", "messages": [{"role": "user", "content": {"x": 1}}], "user": None}, 200),
]  # fmt: skip


def test_odd_bodies(start: Start) -> None:
    with start(lambda body, n: completion("ja")) as gateway:
        for body, status in ODD:
            answer = gateway.client.post("/v1/chat/completions", json=body)
            assert answer.status_code == status, (body, answer.text)
            if status == 422:
                assert answer.json()["error"]["type"] == "invalid_request_error"


def test_numbers_that_are_none_are_refused(start: Start) -> None:
    body = '{"model": "m", "messages": [{"role": "user", "content": "x"}], "seed": SEED}'
    headers = {"content-type": "application/json"}
    with start(lambda body, n: completion("ja")) as gateway:
        for number in ("NaN", "Infinity", "1e999"):
            content = body.replace("SEED", number)
            answer = gateway.client.post("/v1/chat/completions", content=content, headers=headers)
            assert (answer.status_code, answer.json()["error"]["param"]) == (422, "seed")


def test_halves_of_characters_are_replaced(start: Start) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800 ok"}]}'
    with start(lambda body, n: completion("\ud83d")) as gateway:
        headers = {"content-type": "application/json"}
        answer = gateway.client.post("/v1/chat/completions", content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert gateway.rows(1)[0]["text"] == "\ufffd ok"


def test_more_than_allowed_at_once_are_refused(start: Start) -> None:
    go, reached = threading.Event(), threading.Barrier(3)

    def answer(_body: dict[str, Any], _number: int) -> Reply:
        reached.wait(20)
        go.wait(20)
        return completion("ja")

    with start(answer, max_concurrent=2) as gateway, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(gateway.chat, f"hi {n}") for n in range(2)]
        reached.wait(20)
        full = gateway.chat("hi")
        go.set()
        assert (full.status_code, full.json()["error"]["code"]) == (503, "gateway_full")
        assert full.headers["retry-after"] == "1"
        assert [done.result().status_code for done in waiting] == [200, 200]
        assert len(gateway.upstream.requests) == 2


def test_other_requests_are_answered_meanwhile(start: Start) -> None:
    go = threading.Event()
    slow = streamed(
        chunk(content="a"), chunk(finish_reason="stop"), next_piece=lambda _n: go.wait(20)
    )
    with start(lambda body, n: slow) as gateway, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(gateway.chat, "hi", stream=True)
        for _time in range(3):
            answer = gateway.client.post("/v1/classify", json={"input": "质量不错"})
            assert answer.status_code == 200
        go.set()
        assert events(waiting.result())[-1] == "[DONE]"
