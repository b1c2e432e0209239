"""A service whose express way is watched, and a model that answers when it is let."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from fastapi import FastAPI

from feilun.service import alerting
from feilun.service.app import create_app
from feilun.service.express import Express
from feilun.wheel.project import Project
from tests.unit.client.live_server import Line, as_served, listening

CLASSIFY = "POST /v1/classify"
GOOD = {"input": "质量不错，推荐耳机"}


class Served(NamedTuple):
    """A service on a port, how often its express way took a request over, and a key."""

    port: int
    app: FastAPI
    project: Project
    key: str
    taken: list[bool]

    @property
    def express(self) -> Express:
        return self.app.state.express  # type: ignore[no-any-return]

    def headers(self, **more: str) -> dict[str, str]:
        plain = {"Host": "127.0.0.1", "Authorization": f"Bearer {self.key}"}
        return plain | {"Content-Type": "application/json"} | more

    def ask(self, line: Line, given: Any, **more: str) -> tuple[int, dict[str, Any]]:
        """One request on the connection; whether it was taken over is the last of `taken`."""
        self.taken.append(False)
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        status, content = line.said(CLASSIFY, body, **self.headers(**more))
        return status, json.loads(content)

    def known(self, line: Line, **more: str) -> None:
        """Has the head learnt, so that the next such request goes the express way."""
        assert self.ask(line, GOOD, **more)[0] == 200
        assert self.ask(line, GOOD, **more)[0] == 200
        assert self.taken[-1]


@contextmanager
def serving(trained_project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The project's service, within the block."""
    monkeypatch.setattr(alerting, "FIRST_SECONDS", 3600.0)
    key = trained_project.keys.add("test")
    app = create_app(trained_project)
    taken: list[bool] = []
    original = Express.take

    def take(self: Express, connection: Any, data: bytes) -> bool:
        found = original(self, connection, data)
        if taken:
            taken[-1] = taken[-1] or found
        return found

    monkeypatch.setattr(Express, "take", take)
    with listening(app, as_served(app)) as port:
        yield Served(port, app, trained_project, key, taken)


def head_and_body(served: Served, line: Line, given: Any, **more: str) -> tuple[set[str], Any]:
    """The head's lines without ids and dates, and the body without ids."""
    body = json.dumps(given).encode()
    content = line.raw(CLASSIFY, body, **served.headers(**more))
    head, _sep, said = content.partition(b"\r\n\r\n")
    told = json.loads(said)
    for one in (told, *told.get("results", ())):
        one.pop("id", None)
    lines = {
        one.lower() if not one.lower().startswith((b"date", b"x-request-id")) else one[:5].lower()
        for one in head.split(b"\r\n")
    }
    return {one.decode() for one in lines}, told


class Stuck:
    """A predictor that answers when it is let."""

    def __init__(self, inner: Any) -> None:
        self.labels = inner.labels
        self._inner = inner
        self.go = threading.Event()
        self.came = threading.Event()

    def scores(self, texts: Any) -> Any:
        self.came.set()
        assert self.go.wait(30)
        return self._inner.scores(texts)


def stuck(served: Served) -> Stuck:
    """Puts a predictor in the model's place that waits."""
    engine = served.app.state.service.live.engine
    digest, predictor = engine._loaded
    made = Stuck(predictor)
    engine._loaded = digest, made
    return made
