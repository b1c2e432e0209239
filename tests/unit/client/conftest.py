from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from feilun.client import Client
from feilun.service.app import create_app
from feilun.wheel.project import Project

from .live_server import Proxy, listening


class Served(NamedTuple):
    """A service behind a proxy, a client of it, and what the client slept."""

    project: Project
    proxy: Proxy
    url: str
    key: str
    client: Client
    slept: list[float]


@pytest.fixture
def served(trained_project: Project) -> Iterator[Served]:
    key = trained_project.keys.add("client")
    slept: list[float] = []
    with listening(create_app(trained_project)) as port:
        proxy = Proxy(port)
        url = f"http://127.0.0.1:{proxy.port}"
        with Client(url, key, sleep=slept.append) as client:
            yield Served(trained_project, proxy, url, key, client, slept)
        proxy.close()
