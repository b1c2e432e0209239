"""The official client, against a service in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest
from tests.unit.core.chat_server import (
    Chat,
    Reply,
    chat_server,
    chunk,
    completion,
    streamed,
    told,
)
from tests.unit.service.gateway.conftest import SECRET, settings_of

from feilun.store import EventLog
from feilun.store.events.exchanges import newest
from feilun.wheel.project import Project

WAIT_SECONDS = 60.0


class Served(NamedTuple):
    """A process of `feilun serve`, where it listens, and a key for it."""

    process: subprocess.Popen[str]
    url: str
    key: str


@contextmanager
def served(folder: Path, upstream: Chat, **settings: Any) -> Iterator[Served]:
    """`feilun serve` over the project in `folder`, with a gateway."""
    path = folder / "feilun.toml"
    path.write_text(path.read_text("utf-8") + settings_of(upstream.url, **settings), "utf-8")
    with Project.open(folder) as project:
        key = project.keys.add("client")
    process = subprocess.Popen(
        [sys.executable, "-m", "feilun.cli.main", "serve", "-C", str(folder), "--port", "0"],
        env={**os.environ, "UPSTREAM_TOKEN": SECRET, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
            if found:
                yield Served(process, f"{found[0]}/v1", key)
                break
        else:
            raise AssertionError("".join(lines))
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS)


@contextmanager
def service(folder: Path, upstream: Chat, **settings: Any) -> Iterator[openai.OpenAI]:
    """The official client of a service; it tries nothing again."""
    with (
        served(folder, upstream, **settings) as found,
        openai.OpenAI(base_url=found.url, api_key=found.key, timeout=WAIT_SECONDS) as client,
    ):
        yield client.with_options(max_retries=0)


def logged(folder: Path, count: int) -> list[dict[str, Any]]:
    """The newest exchanges, newest first, once there are so many."""
    log = EventLog(folder / ".feilun" / "events.db")
    try:
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            with log.database.read() as connection:
                rows = newest(connection, 100)
            if len(rows) >= count:
                return rows
            time.sleep(0.1)
        raise AssertionError(rows)
    finally:
        log.close()


def answer(body: dict[str, Any], _number: int) -> Reply:
    """Says what the last message asks for."""
    asked = body["messages"][-1]["content"]
    if asked == "limit":
        return Reply(429, b"{}", {"Retry-After": "30"})
    if asked == "token":
        return Reply(401, b"{}")
    if asked == "break":
        return streamed(chunk(content="half"), cut=True)
    if body.get("stream"):
        return told("你", "好", prompt_tokens=3, completion_tokens=2)
    return completion("你好")


def test_the_official_client(project_folder: Path) -> None:
    with chat_server(answer) as upstream:
        with service(project_folder, upstream, models={"small": "theirs"}) as client:

            def ask(text: str, **more: Any) -> Any:
                messages = [{"role": "user", "content": text}]
                return client.chat.completions.create(model="small", messages=messages, **more)

            whole = ask("hi", temperature=0)
            assert whole.choices[0].message.content == "你好"
            assert whole.usage.total_tokens == 15
            pieces = list(ask("hi", stream=True, stream_options={"include_usage": True}))
            said = "".join(c.delta.content or "" for p in pieces for c in p.choices)
            assert said == "你好"
            assert pieces[-1].usage.prompt_tokens == 3
            raw = client.chat.completions.with_raw_response.create(
                model="small", messages=[{"role": "user", "content": "hi"}], temperature=0
            )
            assert raw.headers["x-feilun-cache"] == "hit"

            with pytest.raises(openai.RateLimitError) as limited:
                ask("limit")
            assert limited.value.response.headers["retry-after"] == "30"
            assert (limited.value.code, limited.value.type) == (
                "upstream_limited",
                "rate_limit_error",
            )
            with pytest.raises(openai.InternalServerError) as refused:
                ask("token")
            assert refused.value.code == "upstream_refused"
            with pytest.raises(openai.UnprocessableEntityError) as odd:
                ask("hi", temperature="warm")
            assert odd.value.param == "temperature"
            with pytest.raises(openai.NotFoundError) as unknown:
                client.chat.completions.create(model="other", messages=[{"role": "user"}])
            assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
            with pytest.raises(openai.AuthenticationError):
                client.with_options(api_key="fw_0_0").models.list()
            assert "small" in [model.id for model in client.models.list()]

            stream = ask("break", stream=True)
            assert next(stream).choices[0].delta.content == "half"
            with pytest.raises(openai.APIError, match="broke its answer off"):
                next(stream)
        rows = logged(project_folder, 6)
        outcomes = [row["outcome"] for row in reversed(rows)]
        assert outcomes == ["answered", "answered", "cached", "failed", "failed", "broken"]


def test_who_leaves_ends_the_call(project_folder: Path) -> None:
    go = threading.Event()
    # More than what the sockets in between hold.
    many = [chunk(content="x" * 4000)] * 4000

    def endless(body: dict[str, Any], _number: int) -> Reply:
        if body.get("stream"):
            return streamed(*many)
        go.wait(WAIT_SECONDS)
        return completion("late")

    with chat_server(endless) as upstream:
        limits = {"most_bytes": 100_000_000}
        with service(project_folder, upstream, **limits) as client:
            messages: Any = [{"role": "user", "content": "hi"}]
            stream = client.chat.completions.create(model="m", messages=messages, stream=True)
            next(stream)
            stream.close()
            assert upstream.left.wait(WAIT_SECONDS), "the call goes on though nobody listens"
            (row,) = logged(project_folder, 1)
            assert (row["outcome"], row["estimated"], row["streamed"]) == ("cancelled", 1, 1)
            with pytest.raises(openai.APITimeoutError):
                client.with_options(timeout=1.0).chat.completions.create(
                    model="m", messages=messages
                )
            rows = logged(project_folder, 2)
            assert (rows[0]["outcome"], rows[0]["streamed"]) == ("cancelled", 0)
            go.set()


def test_a_kill_loses_no_acknowledged_answer(project_folder: Path) -> None:
    acknowledged: list[str] = []

    def ask(found: Served) -> None:
        with openai.OpenAI(base_url=found.url, api_key=found.key, max_retries=0) as client:
            while True:
                try:
                    said = client.chat.completions.create(
                        model="m", messages=[{"role": "user", "content": "hi"}]
                    )
                except openai.APIError:
                    return
                acknowledged.append(said.id)
                if len(acknowledged) == 12:
                    found.process.kill()

    with (
        chat_server(lambda body, n: completion("ja")) as upstream,
        served(project_folder, upstream, price_prompt=1e5) as found,
    ):
        threads = [threading.Thread(target=ask, args=(found,)) for _thread in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_SECONDS)
    rows = logged(project_folder, len(acknowledged))
    assert len(acknowledged) >= 12
    assert set(acknowledged) <= {row["id"] for row in rows}
    log = EventLog(project_folder / ".feilun" / "events.db")
    with log.database.read() as connection:
        usage = connection.exec_driver_sql(
            "SELECT sum(requests), sum(tokens), sum(cost) FROM usage"
        )
        requests, tokens, cost = usage.one()
    log.close()
    assert (requests, tokens) == (len(rows), 15 * len(rows))
    assert cost == pytest.approx(sum(row["cost"] for row in rows))
    assert json.loads(rows[0]["messages"]) == [{"role": "user", "content": "hi"}]
