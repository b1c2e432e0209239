"""`feilun alert` and `feilun notify` say and do what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feilun.cli.main import main
from feilun.core.message import Message
from feilun.service.outbox import Courier
from feilun.stages.monitor import Level, Signal
from feilun.wheel import alerts, notices
from feilun.wheel.project import Project
from tests.unit.local_host import LocalHost, local_host


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    monkeypatch.setenv("HOOK_SECRET", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    with local_host() as opened:
        opened.answer("/hook/a-secret-path", b"ok")
        yield opened


@pytest.fixture
def project(project_folder: Path, host: LocalHost) -> Iterator[Project]:
    with (project_folder / "feilun.toml").open("a", encoding="utf-8") as target:
        target.write(f"""
[[serve.notify]]
use = "webhook"
name = "crm"
url = "{host.url("/hook/a-secret-path")}"
allow = ["{host.place}"]
secret = "env:HOOK_SECRET"
events = ["feedback.created"]
""")
    with Project.open(project_folder) as opened:
        notices.open_channels(opened)
        yield opened


def run(project: Project, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main([*words, "-C", str(project.root)]) == code
    told = capsys.readouterr()
    return told.out + told.err


def raise_one(project: Project) -> None:
    signal = Signal("refused", 12.0, Level.WARNING, Message(template="refused (4xx): 12"))
    for now in (1.0, 2.0):
        alerts.look(project, signals=[signal], now=now)


def test_alerts_are_listed_silenced_and_taken_on(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "No alerts." in run(project, capsys, "alert", "list")
    raise_one(project)
    said = run(project, capsys, "alert", "list")
    assert "refused (4xx): 12" in said
    assert "silent until" in run(project, capsys, "alert", "silence", "ref*", "2h")
    made = json.loads(run(project, capsys, "alert", "silence", "ref*", "2h", "--json"))
    assert made["name"] == "ref*"
    assert made["until"] - made["at"] == pytest.approx(7200)
    listed: dict[str, Any] = json.loads(run(project, capsys, "alert", "list", "--json"))
    assert [alert["name"] for alert in listed["alerts"]] == ["refused"]
    assert [silence["name"] for silence in listed["silences"]] == ["ref*"]
    assert "ref*" in run(project, capsys, "alert", "list")
    assert "not silent" in run(project, capsys, "alert", "silence", "ref*", "0s")
    taken = json.loads(run(project, capsys, "alert", "ack", "refused", "--json"))
    assert taken[0]["acked_by"]
    assert "refused" in run(project, capsys, "alert", "ack", "refused")
    assert "no open alert" in run(project, capsys, "alert", "ack", "other", code=3)
    assert "24h" in run(project, capsys, "alert", "silence", "x", "soon", code=2)
    assert "365 days" in run(project, capsys, "alert", "silence", "x", "500d", code=2)


def test_a_look_by_hand_counts(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    raise_one(project)
    for _look in range(3):
        change = json.loads(run(project, capsys, "alert", "look", "--json"))
    assert [alert["name"] for alert in change["cleared"]] == ["refused"]
    assert "No alerts." in run(project, capsys, "alert", "look")
    everything = json.loads(run(project, capsys, "alert", "list", "--all", "--json"))
    assert everything["alerts"][0]["cleared_at"] is not None


def test_channels_are_listed_and_tested(
    project: Project, host: LocalHost, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(project, capsys, "notify", "list")
    assert host.url("").rstrip("/") in said
    assert "a-secret-path" not in said
    assert "arrived at crm" in run(project, capsys, "notify", "test", "crm")
    assert json.loads(host.asked[0].body)["type"] == "test"
    told = json.loads(run(project, capsys, "notify", "test", "crm", "--json"))
    assert told == {"id": host.asked[1].headers["webhook-id"], "channel": "crm"}
    (row,) = json.loads(run(project, capsys, "notify", "list", "--json"))
    assert (row["name"], row["kind"], row["waiting"]) == ("crm", "webhook", 0)
    assert "crm" in run(project, capsys, "notify", "test", "other", code=3)
    host.answer("/hook/a-secret-path", b"", 500)
    run(project, capsys, "notify", "test", "crm", code=6)


def test_dead_letters_are_listed_sent_again_and_thrown_away(
    project: Project, host: LocalHost, capsys: pytest.CaptureFixture[str]
) -> None:
    host.answer("/hook/a-secret-path", b"", 500)
    for _number in range(2):
        answered = project.predict(["物流很快"])
        project.feedback(answered[0].id, "rating", 1)
    (channel,) = project.settings.serve.notify
    Courier(project, channel, None, lambda: 1e12).step()
    letters = json.loads(run(project, capsys, "notify", "dead", "--json"))
    assert [letter["error"] for letter in letters] == ["host_busy"] * 2
    assert letters[0]["id"] in run(project, capsys, "notify", "dead")
    assert "1 message" in run(project, capsys, "notify", "retry", letters[0]["id"])
    assert "1 message" in run(project, capsys, "notify", "drop")
    for command, told in (("retry", {"waiting": 0}), ("drop", {"dropped": 0})):
        assert json.loads(run(project, capsys, "notify", command, "--json")) == told
    assert json.loads(run(project, capsys, "notify", "dead", "--json")) == []
    assert "no dead letter" in run(project, capsys, "notify", "retry", "msg_0", code=3)


def test_the_dashboard_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", "dashboard"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Feilun"
