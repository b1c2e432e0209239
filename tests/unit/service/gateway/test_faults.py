"""Whatever the server behind does wrong becomes a clear answer, and a row."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from feilun.store.database import Database
from tests.unit.core.chat_server import Reply, chunk, completion, streamed, told

from .conftest import Start, events, spoken


def refusal(status: int, message: str = "no", **headers: str) -> Reply:
    return Reply(status, b'{"error": {"message": "%s"}}' % message.encode(), headers)


FAULTS = [
    (refusal(401), 502, "upstream_refused", "server_error"),
    (refusal(403), 502, "upstream_refused", "server_error"),
    (refusal(404), 404, "upstream_lacks", "invalid_request_error"),
    (refusal(400, "bad seed"), 400, "upstream_rejected", "invalid_request_error"),
    (refusal(422), 400, "upstream_rejected", "invalid_request_error"),
    (refusal(429, **{"Retry-After": "17"}), 429, "upstream_limited", "rate_limit_error"),
    (refusal(500), 502, "upstream_failed", "server_error"),
    (refusal(503), 502, "upstream_failed", "server_error"),
    (refusal(302, Location="http://127.0.0.1/"), 502, "upstream_unusable", "server_error"),
    (Reply(200, b"<html>"), 502, "upstream_unusable", "server_error"),
    (Reply(200, b"[" * 100_000), 502, "upstream_unusable", "server_error"),
    (Reply(200, b'{"choices": [3]}'), 502, "upstream_unusable", "server_error"),
    (Reply(200, b'{"choices": [{"index": NaN}]}'), 502, "upstream_unusable", "server_error"),
    (Reply(200, b'{"error": {"message": "x"}}'), 502, "upstream_broke_off", "server_error"),
    (Reply(200, b"x" * 70_000), 502, "upstream_unusable", "server_error"),
    (Reply(200, b'{"choices"', cut=True), 502, "upstream_broke_off", "server_error"),
    (Reply(200, b"{}", {"Content-Encoding": "gzip"}), 502, "upstream_unusable", "server_error"),
]  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_a_fault_has_a_status(start: Start, stream: bool) -> None:
    now = [FAULTS[0][0]]
    with start(lambda body, n: now[0], most_bytes=65536) as gateway:
        for count, (theirs, status, code, sort) in enumerate(FAULTS, start=1):
            now[0] = theirs
            begins = stream and theirs.status == 200
            answer = gateway.chat("hi", stream=stream)
            assert answer.status_code == (200 if begins else status), (theirs, answer.text)
            error = (events(answer)[0] if begins else answer.json())["error"]
            assert (error["code"], error["type"]) == (code, sort), theirs
            assert error["message"]
            assert error["remedy"]
            if status == 429:
                assert answer.headers["retry-after"] == "17"
            if code in {"upstream_refused", "upstream_unusable"} and not begins:
                assert answer.headers["x-should-retry"] == "false"
            row = gateway.rows(count)[-1]
            assert (row["outcome"], row["code"]) == ("broken" if begins else "failed", code)
            assert row["answer"] is None


def test_what_the_server_says_of_a_request_is_passed_on(start: Start) -> None:
    with start(lambda body, n: refusal(400, "seed must be positive")) as gateway:
        error = gateway.chat("hi", seed=-1).json()["error"]
        assert "seed must be positive" in error["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_silence_is_given_up(start: Start, stream: bool) -> None:
    with start(lambda body, n: Reply(pause=30), idle_seconds=0.3) as gateway:
        answer = gateway.chat("hi", stream=stream)
        assert answer.status_code == 504
        assert "idle_seconds" in answer.json()["error"]["message"]
        assert gateway.rows(1)[0]["code"] == "upstream_late"


def test_dripping_is_given_up(start: Start) -> None:
    over = threading.Event()
    drip = streamed(*[chunk(content="x")] * 1000, next_piece=lambda _n: over.wait(0.05))
    with start(lambda body, n: drip, timeout_seconds=1.0, idle_seconds=0.9) as gateway:
        found = events(gateway.chat("hi", stream=True))
        over.set()
        assert found[-1]["error"]["code"] == "upstream_late"
        assert "timeout_seconds" in found[-1]["error"]["message"]
        row = gateway.rows(1)[0]
        assert (row["outcome"], row["estimated"]) == ("broken", 1)
        assert row["answer"] == spoken(found[:-1])


@pytest.mark.parametrize("cut", [False, True])
def test_an_answer_that_breaks_off_is_told_apart(start: Start, cut: bool) -> None:
    with start(lambda body, n: streamed(chunk(content="half"), cut=cut)) as gateway:
        found = events(gateway.chat("hi", stream=True))
        assert spoken(found[:-1]) == "half"
        assert found[-1]["error"]["code"] == "upstream_broke_off"
        (row,) = gateway.rows(1)
        assert (row["outcome"], row["code"]) == ("broken", "upstream_broke_off")
        assert (row["answer"], row["finish"]) == ("half", None)
        failures = gateway.project.events.failures(0)
        assert [(f["route"], f["status"]) for f in failures] == [("/v1/chat/completions", 502)]


def test_an_error_within_a_stream_ends_it(start: Start) -> None:
    error = b'data: {"error": {"message": "out of memory"}}\n\n'
    with start(lambda body, n: streamed(chunk(content="half"), error)) as gateway:
        found = events(gateway.chat("hi", stream=True))
        assert "out of memory" in found[-1]["error"]["message"]


@pytest.mark.parametrize(
    "garbage", [b"data: {\n\n", b"data: \xff\n\n", b"data: 5\n\n", b"data: " + b"x" * 9000]
)
def test_garbage_within_a_stream_ends_it(start: Start, garbage: bytes) -> None:
    with start(lambda body, n: streamed(chunk(content="a"), garbage), most_bytes=8000) as gateway:
        found = events(gateway.chat("hi", stream=True))
        assert found[-1]["error"]["code"] == "upstream_unusable"


def test_a_passing_fault_is_tried_again(start: Start) -> None:
    def answer(_body: dict[str, Any], number: int) -> Reply:
        return completion("ja") if number == 3 else refusal((503, 429)[number - 1])

    with start(answer, retries=2) as gateway:
        assert gateway.chat("hi").status_code == 200
        assert len(gateway.upstream.requests) == 3
        assert len(gateway.rows(1)) == 1


def test_a_long_wait_is_left_to_who_asks(start: Start) -> None:
    late = refusal(429, **{"Retry-After": "600"})
    with start(lambda body, n: late, retries=3) as gateway:
        assert gateway.chat("hi").headers["retry-after"] == "600"
        assert len(gateway.upstream.requests) == 1


def test_nobody_listens(start: Start) -> None:
    gone = {"url": "http://127.0.0.1:9/v1", "allow": ["127.0.0.1:9"]}
    with start(lambda body, n: completion("ja"), **gone) as gateway:
        answer = gateway.chat("hi")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_failed")


def test_what_cannot_be_stored_is_not_acknowledged(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feilun.core.errors import DiskFull

    def full(self: Database) -> Any:
        raise DiskFull("events.db")

    with start(lambda body, n: told("ja") if body.get("stream") else completion("ja")) as gateway:
        monkeypatch.setattr(Database, "write", full)
        answer = gateway.chat("hi")
        assert (answer.status_code, answer.json()["error"]["code"]) == (507, "not_stored")
        found = events(gateway.chat("hi", stream=True))
        assert found[-1]["error"]["code"] == "not_stored"
        assert gateway.client.get("/readyz").status_code == 503
        monkeypatch.undo()
