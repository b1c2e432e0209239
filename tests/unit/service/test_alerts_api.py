"""GET /v1/alerts and GET /v1/notify say what the project has."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from feilun.core.message import Message
from feilun.service import alerting
from feilun.service.alerting import Watch
from feilun.stages.monitor import Level, Signal
from feilun.wheel import alerts

from .conftest import Running


def raise_one(running: Running) -> None:
    signal = Signal("refused", 12.0, Level.WARNING, Message(template="refused (4xx): 12"))
    for now in (1.0, 2.0):
        alerts.look(running.project, signals=[signal], now=now)


def test_alerts_are_listed_in_the_language_of_the_request(running: Running) -> None:
    assert running.client.get("/v1/alerts").json() == {
        "object": "list", "data": [], "silences": [],
    }  # fmt: skip
    raise_one(running)
    alerts.silence(running.project, "other*", 7200.0, "me")
    content = running.client.get("/v1/alerts").json()
    (alert,) = content["data"]
    assert (alert["name"], alert["raised_at"], alert["cleared_at"]) == ("refused", 2.0, None)
    assert [silence["name"] for silence in content["silences"]] == ["other*"]


def test_a_project_without_channels_says_so(running: Running) -> None:
    assert running.client.get("/v1/notify").json() == {"object": "list", "data": []}


def test_the_service_looks_and_counts_open_alerts(running: Running) -> None:
    raise_one(running)
    watch = Watch(running.project, running.service.metrics.alerts)
    watch.look()
    assert "feilun_alerts_open 1.0" in running.client.get("/metrics").text
    # The look above was a quiet one; a second one right after it does not count.
    watch.look()
    with running.project.events.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT quiet FROM alert_looks WHERE name = 'refused'")
        assert rows.scalar() == 1


def test_a_look_that_fails_is_logged_and_ends_nothing(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    watch = Watch(running.project)
    file = running.project.root / "feilun.toml"
    settings = file.read_text(encoding="utf-8")
    file.write_text("nonsense", encoding="utf-8")
    watch.look()
    assert caplog.messages == ["the signals could not be looked at: ChildProcessError"]
    file.write_text(settings, encoding="utf-8")
    caplog.clear()
    watch.look()
    assert not caplog.messages
    with running.project.events.database.read() as connection:
        looks = connection.exec_driver_sql("SELECT count(*) FROM alert_looks").scalar()
    assert looks
    assert looks > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_look_that_is_ended_with_the_service_is_no_failure(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
) -> None:
    begun = subprocess.Popen

    def begin(*arguments: Any, **settings: Any) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = begun(*arguments, **settings)
        assert os.getpgid(process.pid) != os.getpgid(0), "Ctrl-C must not reach it"
        # As a supervisor does that tells every process of a service to end.
        process.send_signal(number)
        return process

    monkeypatch.setattr(subprocess, "Popen", begin)
    Watch(running.project).look()
    # Whom the system kills, for memory or by hand, has failed.
    failed = ["the signals could not be looked at: ChildProcessError"]
    assert caplog.messages == (failed if number is signal.SIGKILL else [])


def test_a_look_takes_no_memory_of_the_service(running: Running) -> None:
    def resident() -> int:
        pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]
        return int(pages) * 4096

    watch = Watch(running.project)
    before = resident()
    watch.look()
    assert resident() - before < 32 << 20


def test_closing_gives_a_look_up(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerting, "FIRST_SECONDS", 0.0)
    watch = Watch(running.project)
    watch.start()
    started = time.monotonic()
    watch.close()
    assert time.monotonic() - started < 30.0


def test_the_console_shows_alerts_and_who_is_told(running: Running) -> None:
    raise_one(running)
    running.client.post(
        "/console/sign-in",
        data={"key": running.key},
        headers={"origin": "http://127.0.0.1:8000"},
    )
    home = running.client.get("/console").text
    assert '<span class="badge warn">1</span>' in home
    page = running.client.get("/console/alerts").text
    assert "refused (4xx): 12" in page
    alerts.look(running.project, signals=[], now=3.0)
    for now in (4.0, 5.0, 6.0):
        alerts.look(running.project, signals=[], now=now)
    assert '<span class="badge warn">1</span>' not in running.client.get("/console").text
