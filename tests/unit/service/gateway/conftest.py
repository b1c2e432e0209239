from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from httpx2 import Response
from starlette.testclient import TestClient

from feilun.service.app import create_app
from feilun.wheel.project import Project
from tests.unit.core.chat_server import Chat, Reply, chat_server

SECRET = "sk-upstream-1234"  # of no use anywhere


class Gateway(NamedTuple):
    """A service whose gateway leads to a chat server on this machine."""

    client: TestClient
    project: Project
    upstream: Chat
    key: str

    def chat(self, *texts: str, **more: Any) -> Response:
        """One chat, each text a message of the user."""
        messages = [{"role": "user", "content": text} for text in texts]
        body = {"model": "gpt", "messages": messages} | more
        return self.client.post("/v1/chat/completions", json=body)

    def sent(self) -> dict[str, Any]:
        """The body that the server was sent last."""
        return self.upstream.requests[-1][1]

    def rows(self, count: int) -> list[dict[str, Any]]:
        """The exchanges in the log, oldest first, once there are so many."""
        for _try in range(200):
            with self.project.events.database.read() as connection:
                found = connection.execute(sa.text("SELECT * FROM exchanges ORDER BY seq"))
                rows = [dict(row) for row in found.mappings()]
            if len(rows) >= count:
                break
            time.sleep(0.05)
        assert len(rows) == count
        return rows


def settings_of(url: str, **more: Any) -> str:
    """`[serve.gateway]` for a server on this machine."""
    given = {
        "url": url,
        "token": "env:UPSTREAM_TOKEN",
        "allow": [url.split("/")[2]],
        "retries": 0,
        "timeout_seconds": 20,
    } | more
    lines = [f"{name} = {_toml(value)}" for name, value in given.items()]
    return "\n[serve.gateway]\n" + "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


Start = Callable[..., Any]


@pytest.fixture
def start(project_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts a gateway before a server that answers as it is told."""
    monkeypatch.setenv("UPSTREAM_TOKEN", SECRET)
    path = project_folder / "feilun.toml"
    plain = path.read_text("utf-8")

    @contextmanager
    def started(
        answer: Callable[[dict[str, Any], int], Reply], **settings: Any
    ) -> Iterator[Gateway]:
        with chat_server(answer) as upstream:
            url = settings.pop("url", upstream.url)
            path.write_text(plain + settings_of(url, **settings), "utf-8")
            with Project.open(project_folder) as project:
                key = project.keys.add("test")
                with TestClient(create_app(project), base_url="http://127.0.0.1:8000") as client:
                    client.headers["authorization"] = f"Bearer {key}"
                    yield Gateway(client, project, upstream, key)

    return started


def events(answer: Response) -> list[Any]:
    """The events of a streamed answer."""
    assert answer.headers["content-type"].startswith("text/event-stream"), answer.text
    found = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    return [text if text == "[DONE]" else json.loads(text) for text in found]


def spoken(found: list[Any]) -> str:
    """The text that the events of a stream add up to."""
    return "".join(
        choice["delta"].get("content") or ""
        for event in found
        if event != "[DONE]"
        for choice in event.get("choices", ())
    )
