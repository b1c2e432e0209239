from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from starlette.testclient import TestClient

from feilun.service import alerting
from feilun.service.answering import Service
from feilun.service.app import create_app
from feilun.team import Scope
from feilun.wheel.project import Project
from tests.unit.service.fast_way import Served, serving


class Running(NamedTuple):
    """An app with its live model loaded, a client with a key that may do everything, and the
    parts behind it."""

    client: TestClient
    service: Service
    project: Project
    key: str


@pytest.fixture
def running(trained_project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    # The service's own look would come in the middle of a slow test.
    monkeypatch.setattr(alerting, "FIRST_SECONDS", 3600.0)
    key = trained_project.keys.add("test")
    app = create_app(trained_project)
    with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
        client.headers["authorization"] = f"Bearer {key}"
        yield Running(client, app.state.service, trained_project, key)


@pytest.fixture
def predict_only(running: Running) -> str:
    return running.project.keys.add("predict", frozenset({Scope.PREDICT}))


@pytest.fixture
def served(trained_project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(trained_project, monkeypatch) as found:
        yield found
