"""From a signal to a person: look, raise, tell, silence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.service.outbox import Courier
from feilun.stages.monitor import Level, Signal
from feilun.wheel import alerts, notices
from feilun.wheel.alerts import LONGEST_SECONDS, BadSilence
from feilun.wheel.project import Project
from tests.unit.local_host import LocalHost, local_host
from tests.unit.smtp_host import SmtpHost, smtp_host

TEMPLATE = N_("refused (4xx): {value:.0f}")


def signals(loud: bool) -> list[Signal]:
    message = Message(template=TEMPLATE, values={"value": 12})
    level = Level.WARNING if loud else Level.OK
    return [Signal("refused", 12.0, level, message), Signal("other", 1.0, Level.OK, message)]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    monkeypatch.setenv("HOOK_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    with local_host() as opened:
        opened.answer("/hook", b"ok")
        yield opened


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[SmtpHost]:
    with smtp_host(tmp_path) as opened:
        yield opened


@pytest.fixture
def project(project_folder: Path, host: LocalHost, smtp: SmtpHost) -> Iterator[Project]:
    with (project_folder / "feilun.toml").open("a", encoding="utf-8") as target:
        target.write(f"""
[monitor.alerts]
raise_after = 2
clear_after = 1

[[serve.notify]]
use = "webhook"
name = "crm"
url = "{host.url("/hook")}"
allow = ["{host.place}"]
secret = "env:HOOK_SECRET"
events = ["alert.raised", "alert.cleared"]
language = "zh"

[[serve.notify]]
use = "mail"
name = "team"
host = "127.0.0.1"
port = {smtp.port}
security = "none"
sender = "feilun@example.org"
to = ["li@example.org"]
""")
    with Project.open(project_folder) as opened:
        notices.open_channels(opened)
        yield opened


def send(project: Project) -> None:
    for channel in project.settings.serve.notify:
        Courier(project, channel, None, lambda: 1e12).step()


def test_who_does_not_look_is_told_in_the_language_of_the_channel(
    project: Project, host: LocalHost, smtp: SmtpHost
) -> None:
    for now in (100.0, 200.0, 300.0):
        alerts.look(project, signals=signals(True), now=now)
    send(project)
    (asked,) = host.asked
    body = json.loads(asked.body)
    assert body["type"] == "alert.raised"
    (alert,) = body["data"]["alerts"]
    assert (alert["name"], alert["raised_at"], alert["cleared_at"]) == ("refused", 200.0, None)
    assert "4xx" in alert["message"]
    assert alert["message"] != "refused (4xx): 12", "it is in Chinese"
    (mail,) = smtp.mails
    assert mail["Subject"] == "[reviews] 1 alert(s): refused"
    assert "refused (4xx): 12" in mail.get_content()
    alerts.look(project, signals=signals(False), now=400.0)
    send(project)
    assert json.loads(host.asked[-1].body)["type"] == "alert.cleared"
    assert smtp.mails[-1]["Subject"] == "[reviews] 1 alert(s) over: refused"
    assert len(host.asked) == len(smtp.mails) == 2


def test_what_the_project_sees_now_is_looked_at(project: Project) -> None:
    change = alerts.look(project)
    assert change is not None
    assert change.raised == []


def test_alerts_are_silenced_and_taken_on(project: Project, smtp: SmtpHost) -> None:
    alerts.silence(project, "refused", 7200.0, "me")
    for _look in range(3):
        alerts.look(project, signals=signals(True))
    (row,) = alerts.acknowledge(project, "ref*", "me")
    assert alerts.shown(row)["message"] == alerts.said(row) == "refused (4xx): 12"
    alerts.silence(project, "refused", 0.0)
    alerts.look(project, signals=signals(True))
    send(project)
    assert not smtp.mails, "somebody has taken it on: nobody else is told"


@pytest.mark.parametrize("seconds", [-1.0, LONGEST_SECONDS + 1, float("inf"), float("nan")])
def test_a_silence_ends_within_a_year(project: Project, seconds: float) -> None:
    with pytest.raises(BadSilence):
        alerts.silence(project, "refused", seconds)
