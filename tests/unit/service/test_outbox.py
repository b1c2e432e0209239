"""What is announced arrives: at least once, signed, under one id, and nowhere else."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from feilun.service.outbox import Courier, Sender
from feilun.service.shapes_batches import BatchAnswer
from feilun.stages.serve import webhook as module
from feilun.store.events import FeedbackRow
from feilun.store.events.batches import COMPLETED, Batch, BatchAdded, BatchEnded, BatchPiece
from feilun.store.events.outbox import Delivery
from feilun.wheel import notices
from feilun.wheel.project import Project
from tests.evidence import Evidence
from tests.unit.local_host import Asked, LocalHost, local_host

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OLD = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
DAY = 86_400.0


class Clock:
    """A time that only a test moves on, from a minute after what the test does."""

    def __init__(self) -> None:
        self.now = time.time() + 60.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("OLD_SECRET", OLD)
    with local_host() as opened:
        opened.answer("/hook", b"ok")
        yield opened


def with_channel(folder: Path, host: LocalHost, path: str = "/hook", **more: Any) -> Path:
    """The project's folder with a webhook `crm` in its settings, in place of any before."""
    settings = {
        "use": "webhook",
        "name": "crm",
        "url": host.url(path),
        "secret": "env:HOOK_SECRET",
        "events": ["feedback.created", "release.moved", "turn.done"],
        "allow": [host.place],
        **more,
    }
    file = folder / "feilun.toml"
    kept = file.read_text(encoding="utf-8").split("\n[[serve.notify]]")[0]
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    file.write_text(kept + "\n[[serve.notify]]\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def project(project_folder: Path, host: LocalHost) -> Iterator[Project]:
    with Project.open(with_channel(project_folder, host)) as opened:
        notices.open_channels(opened)
        yield opened


def courier(project: Project, clock: Clock | None = None) -> Courier:
    (channel,) = project.settings.serve.notify
    return Courier(project, channel, None, clock or Clock(), lambda: 0.5)


def say(project: Project, value: str = "负面") -> str:
    answered = project.predict(["物流很快，包装也好 13812345678"])
    return project.feedback(answered[0].id, "correction", value)


def checked(asked: Asked, secret: str = SECRET) -> dict[str, Any]:
    """The body of a request whose signature holds."""
    found = Verifier(secret).verify(asked.body, asked.headers)
    assert isinstance(found, dict)
    return found


def test_a_message_arrives_signed_and_holds_no_input(project: Project, host: LocalHost) -> None:
    identity = say(project)
    assert courier(project).step() == 1
    (asked,) = host.asked
    body = checked(asked)
    assert body["type"] == "feedback.created"
    assert body["data"] | {"prediction_id": "", "model": ""} == {
        "project": "reviews", "id": identity, "prediction_id": "", "kind": "correction",
        "value": "负面", "source": body["data"]["source"], "label": "正面", "model": "",
    }  # fmt: skip
    assert b"13812345678" not in asked.body
    assert asked.headers["content-type"] == "application/json"
    assert courier(project).step() == 0
    # The negative control: another secret, another body.
    with pytest.raises(Exception, match="No matching signature"):
        checked(asked, OLD)
    with pytest.raises(Exception, match="No matching signature"):
        checked(asked._replace(body=asked.body.replace(b"crea", b"delE")))


def test_a_batch_is_told_of_as_the_api_answers_it(project_folder: Path, host: LocalHost) -> None:
    folder = with_channel(project_folder, host, events=["batch.done"])
    with Project.open(folder) as project:
        notices.open_channels(project)
        batch = Batch("b_1", "k_secret", time.time(), "classify", 3, 40, "ab" * 32)
        project.events.record([BatchAdded(batch, 4)])
        project.events.record([BatchPiece("b_1", 0, 3, 1, "{}\n")])
        project.events.record([BatchEnded("b_1", COMPLETED, time.time())])
        assert courier(project).step() == 1
    (asked,) = host.asked
    data = checked(asked)["data"]
    assert data.pop("project") == "reviews"
    told = BatchAnswer.model_validate(data)
    assert told.model_dump() == data, "every field of the API, and no other"
    assert (told.id, told.status) == ("b_1", "completed")
    assert told.lines.model_dump() == {"total": 3, "done": 3, "failed": 1}
    assert b"k_secret" not in asked.body


def test_while_secrets_change_both_sign(project_folder: Path, host: LocalHost) -> None:
    folder = with_channel(project_folder, host, old_secret="env:OLD_SECRET")
    with Project.open(folder) as project:
        notices.test(project, "crm")
    (asked,) = host.asked
    assert checked(asked, SECRET)["type"] == checked(asked, OLD)["type"] == "test"
    for secret in (SECRET, OLD):
        assert secret.removeprefix("whsec_").encode() not in asked.body
        assert all(secret.removeprefix("whsec_") not in v for v in asked.headers.values())


@pytest.mark.parametrize("status", [500, 503, 404, 410, 429, 400, 401])
def test_what_is_refused_is_tried_again_under_the_same_id(
    project: Project, host: LocalHost, status: int
) -> None:
    clock = Clock()
    sender = courier(project, clock)
    say(project)
    host.answer("/hook", b"no", status)
    assert sender.step() == 0
    assert len(host.asked) == 1
    assert sender.step() == 0
    assert len(host.asked) == 1, "it waits before it tries again"
    host.answer("/hook", b"ok")
    clock.now += 6.0
    assert sender.step() == 1
    first, second = host.asked
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    checked(second)


def test_a_redirect_is_refused_and_the_other_place_is_told_nothing(
    project: Project, host: LocalHost
) -> None:
    with local_host() as other:
        other.answer("/hook", b"ok")
        host.answer("/hook", b"", 307, {"Location": other.url("/hook")})
        say(project)
        assert courier(project).step() == 0
        assert not other.asked
    assert notices.outbox(project).channels()[0].error == "redirected"


def test_an_inner_address_needs_to_be_allowed(project_folder: Path, host: LocalHost) -> None:
    with pytest.raises(Exception, match="port"):
        Project.open(with_channel(project_folder, host, allow=[]))
    folder = with_channel(project_folder, host, allow=[], url="http://127.0.0.1/hook")
    with Project.open(folder) as project:
        notices.open_channels(project)
        say(project)
        assert courier(project).step() == 0
        assert notices.outbox(project).channels()[0].error == "host_refused"


def test_a_receiver_that_hangs_is_cut_off_and_gets_it_twice(
    project: Project, host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.5)
    slow = True

    def page(_asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if slow:
            time.sleep(1.0)
        return 200, {}, b"ok"

    host.pages["/hook"] = page
    clock = Clock()
    sender = courier(project, clock)
    say(project)
    started = time.monotonic()
    assert sender.step() == 0
    assert time.monotonic() - started < 30.0
    assert notices.outbox(project).channels()[0].error == "unreachable"
    slow = False
    clock.now += 6.0
    assert sender.step() == 1
    # It was told twice; the id lets it know.
    assert len(host.asked) == 2
    assert len({asked.headers["webhook-id"] for asked in host.asked}) == 1


def test_a_receiver_that_is_down_for_days_gets_everything(
    project: Project, host: LocalHost
) -> None:
    clock = Clock()
    sender = courier(project, clock)
    host.answer("/hook", b"down", 503)
    expected = set()
    end = clock.now + 3 * DAY
    tries_before = 0
    for number in range(24):
        expected.add(say(project, f"l{number}"))
    while clock.now < end:
        sender.step()
        clock.now += 600.0
    tries_before = len(host.asked)
    # It is asked now and then, not flooded.
    assert 3 * 24 < tries_before < 3 * 24 * 60
    assert notices.outbox(project).channels()[0].waiting == 24
    host.answer("/hook", b"ok")
    told = []
    for _look in range(40):
        sender.step()
        clock.now += 600.0
    told = [json.loads(asked.body)["data"]["id"] for asked in host.asked[tries_before:]]
    assert set(told) == expected
    assert len(told) == 24
    row = notices.outbox(project).channels()[0]
    assert (row.waiting, row.dead, row.delivered, row.lost) == (0, 0, 24, 0)


def test_after_too_many_days_it_is_a_dead_letter_and_can_be_sent_again(
    project: Project, host: LocalHost
) -> None:
    clock = Clock()
    sender = courier(project, clock)
    host.answer("/hook", b"down", 503)
    say(project)
    sender.step()
    clock.now += 7 * DAY + 60.0
    sender.step()
    box = notices.outbox(project)
    assert [letter.error for letter in box.dead()] == ["host_busy"]
    host.answer("/hook", b"ok")
    clock.now += DAY
    assert sender.step() == 0
    box.retry(None, clock.now)
    assert sender.step() == 1
    assert len({asked.headers["webhook-id"] for asked in host.asked}) == 1


def test_one_message_that_is_always_refused_holds_up_no_other(
    project: Project, host: LocalHost
) -> None:
    poison = say(project)

    def page(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        bad = json.loads(asked.body)["data"]["id"] == poison
        return (500 if bad else 200), {}, b""

    host.pages["/hook"] = page
    for _number in range(5):
        say(project)
    clock = Clock()
    sender = courier(project, clock)
    assert sender.step() == 5
    for _look in range(20):
        clock.now += 30.0
        sender.step()
    row = notices.outbox(project).channels()[0]
    assert (row.waiting, row.delivered) == (1, 5)


def test_another_address_gets_nothing_of_the_old_one(project_folder: Path, host: LocalHost) -> None:
    with Project.open(with_channel(project_folder, host)) as project:
        notices.open_channels(project)
        host.answer("/hook", b"down", 503)
        say(project)
        old = courier(project)
        assert old.step() == 0
    host.asked.clear()
    with Project.open(with_channel(project_folder, host, "/new")) as project:
        host.answer("/new", b"ok")
        notices.open_channels(project)
        clock = Clock()
        clock.now += DAY
        assert courier(project, clock).step() == 0
        # A process that still has the old settings does not send to the old address either.
        say(project)
        clock.now += DAY
        assert old.step() == 0
        assert not host.asked
        assert courier(project, clock).step() == 1
        assert [asked.path for asked in host.asked] == ["/new"]
        assert notices.outbox(project).dead()[0].error == "channel_moved"


def test_a_secret_that_is_missing_or_odd_sends_nothing_and_loses_nothing(
    project: Project, host: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    sender = courier(project, clock)
    say(project)
    for value, code in (
        ("", "secret_missing"),
        ("hunter2", "webhook_secret_invalid"),
        ("whsec_c2hvcnQ=", "webhook_secret_invalid"),
        ("whsec_not base64!", "webhook_secret_invalid"),
    ):
        monkeypatch.setenv("HOOK_SECRET", value)
        clock.now += DAY / 2
        assert sender.step() == 0
        assert notices.outbox(project).channels()[0].error == code
    assert not host.asked
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    clock.now += DAY / 2
    assert sender.step() == 1


def test_what_was_erased_is_not_told(project: Project, host: LocalHost) -> None:
    import sqlalchemy as sa

    say(project)
    with project.events.database.write() as connection:
        connection.execute(sa.text("DELETE FROM feedback"))
    assert courier(project).step() == 0
    assert not host.asked
    assert notices.outbox(project).channels()[0].waiting == 0


def test_turns_and_moves_of_what_is_live_are_told_once(project: Project, host: LocalHost) -> None:
    notices.follow_history(project)
    assert courier(project).step() == 0, "what was before the channel is not told"
    project.turn()
    model = project.release
    assert model is not None
    earlier = project.history()[0]
    project.control.move_alias(
        "live", _another_model(project), expected=earlier.digest, by="me", reason=earlier.reason
    )
    for _twice in range(2):
        notices.follow_history(project)
    courier(project).step()
    bodies = [checked(asked) for asked in host.asked]
    assert [body["type"] for body in bodies].count("turn.done") == 1
    moves = [body for body in bodies if body["type"] == "release.moved"]
    assert moves[-1]["data"]["by"] == "me"
    turn = next(body for body in bodies if body["type"] == "turn.done")
    assert turn["data"]["turn"] == 2


def _another_model(project: Project) -> str:
    """A model that is not live; any artifact's digest will do for the alias."""
    digests = [stored.artifact.digest for stored in project.control.artifacts()]
    assert project.release is not None
    return next(digest for digest in digests if digest != project.release.model.digest)


def test_the_service_sends_what_it_is_told(project_folder: Path, host: LocalHost) -> None:
    with Project.open(with_channel(project_folder, host)) as project:
        sender = Sender(project)
        sender.start()
        end = time.monotonic() + 30
        while not notices.outbox(project).channels() and time.monotonic() < end:
            time.sleep(0.02)
        identity = say(project)
        while not host.asked and time.monotonic() < end:
            time.sleep(0.02)
        sender.close()
        assert [json.loads(asked.body)["data"]["id"] for asked in host.asked] == [identity]


_SENDING = """
import sys
from feilun.service.outbox import Courier
from feilun.wheel.project import Project

with Project.open(sys.argv[1]) as project:
    (channel,) = project.settings.serve.notify
    print("begun", flush=True)
    Courier(project, channel).step()
"""


def test_a_sender_that_is_killed_loses_nothing(
    project: Project, host: LocalHost, evidence: Evidence
) -> None:
    """The receiver kills the sender while it waits for the answer: at least once."""
    expected = {say(project, f"l{number}") for number in range(6)}
    killed: list[int] = []
    running: list[subprocess.Popen[bytes]] = []

    def page(_asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if len(killed) < 3:
            killed.append(running[-1].pid)
            os.kill(running[-1].pid, signal.SIGKILL)
        return 200, {}, b"ok"

    host.pages["/hook"] = page
    for _start in range(4):
        process = subprocess.Popen([sys.executable, "-c", _SENDING, str(project.root)])
        running.append(process)
        process.wait(120)
    assert [process.returncode for process in running] == [-9, -9, -9, 0]
    told = [(json.loads(a.body)["data"]["id"], a.headers["webhook-id"]) for a in host.asked]
    assert {identity for identity, _message in told} == expected
    assert len(told) == 9, "three were told twice, and only these"
    assert len(set(told)) == 6, "a second time under the same id"
    row = notices.outbox(project).channels()[0]
    assert (row.waiting, row.delivered, row.lost) == (0, 6, 0)
    evidence(
        32,
        f"a sender killed {len(killed)} times within a message: {len(expected)} of "
        f"{len(expected)} arrive, {len(told) - len(set(told))} of them twice under one id",
    )


MESSAGES, DAYS_DOWN = 40, 2


def whims(host: LocalHost, elsewhere: LocalHost, clock: Clock) -> None:
    """Has the receiver fail in every way: it is down for days, then only now and then."""
    back = clock.now + DAYS_DOWN * DAY
    choose = random.Random(32)
    redirect = {"Location": elsewhere.url("/hook")}

    def page(_asked: Asked) -> tuple[int, dict[str, str], bytes]:
        if clock.now < back:
            return 503, {}, b"down"
        status = choose.choice((200, 200, 200, 500, 429, 404, 307, 0))
        if status == 0:
            time.sleep(3 * module.SECONDS)
        return status or 200, redirect if status == 307 else {}, b""

    host.pages["/hook"] = page


def sent_until_done(project: Project, host: LocalHost, clock: Clock) -> tuple[int, int, int]:
    """Tells of many things and lets ten days pass: how many never arrived, how many had more than
    one id, and how many tries there were."""
    sender = courier(project, clock)
    expected = {say(project, f"l{number}") for number in range(MESSAGES)}
    end = clock.now + 10 * DAY
    while notices.outbox(project).channels()[0].waiting and clock.now < end:
        sender.step()
        clock.now += 900.0
    ids: dict[str, set[str]] = {}
    for asked in host.asked:
        told = json.loads(asked.body)["data"]["id"]
        ids.setdefault(told, set()).add(asked.headers["webhook-id"])
    row = notices.outbox(project).channels()[0]
    several = sum(len(found) > 1 for found in ids.values())
    return len(expected) - row.delivered + len(expected - set(ids)), several, len(host.asked)


def test_whatever_a_receiver_does_everything_arrives_under_one_id(
    project: Project, host: LocalHost, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    clock = Clock()
    with local_host() as elsewhere:
        whims(host, elsewhere, clock)
        lost, several, tries = sent_until_done(project, host, clock)
        assert not elsewhere.asked
    assert (lost, several) == (0, 0)
    evidence(
        32,
        f"{MESSAGES} messages to a receiver that is down for {DAYS_DOWN} days, then answers 500, "
        f"429, 404, a redirect or not at all: {lost} lost, {several} under a second id, {tries} "
        "tries, the redirect's address told nothing",
    )


def test_control_a_sender_that_tries_once_would_lose_messages(
    project: Project, host: LocalHost, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    def give_up(self: Courier, delivery: Delivery, _error: Exception) -> None:
        self._outbox.forget(delivery)

    monkeypatch.setattr(module, "SECONDS", 0.2)
    monkeypatch.setattr(Courier, "_failed", give_up)
    clock = Clock()
    with local_host() as elsewhere:
        whims(host, elsewhere, clock)
        clock.now += DAYS_DOWN * DAY
        lost, _several, _tries = sent_until_done(project, host, clock)
    assert lost
    evidence.control(32, f"a sender that tries once loses {lost} of {MESSAGES}")


def test_control_marked_before_it_is_sent_it_would_be_lost(
    project: Project, host: LocalHost
) -> None:
    """What the order of sending and marking is for: the other way round, a kill loses it."""
    say(project)
    box = notices.outbox(project)
    delivery = box.next_due("crm", time.time() + 1)
    assert delivery is not None
    box.arrived(delivery, time.time())
    assert courier(project).step() == 0
    assert not host.asked


def test_nothing_of_a_message_is_logged(
    project: Project, host: LocalHost, caplog: pytest.LogCaptureFixture
) -> None:
    row = project.predict(["机密 13812345678"])[0]
    project.events.record(
        [FeedbackRow(row.id, time.time(), "correction", "秘密标签", "somebody", "k")]
    )
    host.answer("/hook", b"secret answer", 500)
    assert courier(project).step() == 0
    assert "host_busy" in caplog.text
    for word in ("13812345678", "秘密标签", "somebody", "secret answer", SECRET):
        assert word not in caplog.text
