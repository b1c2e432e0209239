"""Mails arrive, encrypted where a password is sent, and say what went wrong where they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from feilun.core.errors import FeilunError
from feilun.core.i18n import speak
from feilun.core.secret import Secret
from feilun.stages.serve.channel import Notice
from feilun.stages.serve.mail import (
    Mail,
    MailLoginRefused,
    MailRefused,
    MailServerUnreachable,
    text,
)
from tests.unit.smtp_host import PASSWORD, USER, SmtpHost, smtp_host

ALERTS = [
    {"name": "latency_p99_ms", "message": "99 % within 3000.0 ms"},
    {"name": "share.负面", "message": "'负面': 80.0% of the answers"},
]
NOTICE = Notice("msg_1", "alert.raised", 1_790_000_000.0, {"project": "reviews", "alerts": ALERTS})


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)


def mail(host: SmtpHost, **more: Any) -> Mail:
    settings = {
        "name": "team",
        "host": "localhost",
        "port": host.port,
        "user": USER,
        "password": Secret("env:MAIL_PASSWORD"),
        "sender": "feilun@example.org",
        "to": ("li@example.org", "wang@example.org"),
        **more,
    }
    return Mail.model_validate(settings)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_arrives_encrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    with smtp_host(tmp_path, tls=security == "tls") as host:
        monkeypatch.setenv("SSL_CERT_FILE", str(host.certificate))
        channel = mail(host, security=security)
        for _twice in range(2):
            channel.send(NOTICE)
    first, second = host.mails
    assert first["To"] == "li@example.org, wang@example.org"
    assert first["From"] == "feilun@example.org"
    assert first["Subject"] == "[reviews] 2 alert(s): latency_p99_ms, share.负面"
    assert "80.0% of the answers" in first.get_content()
    assert first["Message-ID"] == second["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"
    in_clear = " ".join(line for secure, line in host.said if not secure)
    assert "AUTH" not in in_clear
    assert any(secure and line.startswith("AUTH") for secure, line in host.said)


def test_without_starttls_nothing_is_sent(tmp_path: Path) -> None:
    with smtp_host(tmp_path) as host:
        host.starttls = False
        with pytest.raises(MailServerUnreachable):
            mail(host).send(NOTICE)
    assert not host.mails
    assert not any("AUTH" in line or "DATA" in line for _secure, line in host.said)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with smtp_host(tmp_path) as host, pytest.raises(MailServerUnreachable, match="certificate"):
        mail(host).send(NOTICE)
    assert not host.mails


def test_without_a_password_it_may_be_plain(tmp_path: Path) -> None:
    with smtp_host(tmp_path) as host:
        mail(host, user=None, password=None, security="none").send(NOTICE)
    assert len(host.mails) == 1


@pytest.mark.parametrize(
    ("word", "answer", "error"),
    [
        ("RCPT", "550 nobody here", MailRefused),
        ("RCPT", "450 later", MailServerUnreachable),
        ("MAIL", "553 not you", MailRefused),
        ("DATA", "451 later", MailServerUnreachable),
        ("DATA", "554 no spam", MailRefused),
        ("MAIL", "421 busy", MailServerUnreachable),
    ],
)
def test_what_the_server_says_is_told_apart(
    tmp_path: Path, word: str, answer: str, error: type[FeilunError]
) -> None:
    with smtp_host(tmp_path) as host:
        host.answers[word] = answer
        with pytest.raises(error) as caught:
            mail(host, user=None, password=None, security="none").send(NOTICE)
    assert type(caught.value) is error
    assert not host.mails


def test_a_wrong_password_is_said_and_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with smtp_host(tmp_path, tls=True) as host:
        monkeypatch.setenv("SSL_CERT_FILE", str(host.certificate))
        monkeypatch.setenv("MAIL_PASSWORD", "wrong horse")
        with pytest.raises(MailLoginRefused) as caught:
            mail(host, security="tls").send(NOTICE)
    assert "wrong horse" not in str(caught.value)
    assert not host.mails


def test_nobody_there_is_said(tmp_path: Path) -> None:
    with smtp_host(tmp_path) as host:
        channel = mail(host)
    with pytest.raises(MailServerUnreachable):
        channel.send(NOTICE)


@pytest.mark.parametrize(
    "wrong",
    [
        {"security": "none"},
        {"user": None},
        {"to": ()},
        {"to": ("nobody",)},
        {"to": ("a@b.c\r\nBcc: x@y.z",)},
        {"sender": "Me <me@example.org>"},
        {"events": ("everything",)},
        {"password": "plain text"},
    ],
)
def test_odd_settings_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with smtp_host(tmp_path) as host, pytest.raises(ValidationError):
        mail(host, **wrong)


def test_names_in_a_subject_cannot_make_a_header(tmp_path: Path) -> None:
    alerts = [{"name": "share.x\r\nBcc: all@example.org", "message": "x"}]
    notice = NOTICE._replace(data={"project": "a\nb", "alerts": alerts})
    with smtp_host(tmp_path) as host:
        mail(host, user=None, password=None, security="none").send(notice)
    (arrived,) = host.mails
    assert arrived["Bcc"] is None
    assert "Bcc" in arrived["Subject"]


def test_other_events_are_said_too_and_many_alerts_in_few_words() -> None:
    said = text(Notice("m", "turn.done", 0.0, {"project": "p", "turn": 3, "error": None}))
    assert said == ("[p] turn.done", "project: p\nturn: 3\n")
    many = [{"name": f"s{number}", "message": "m"} for number in range(9)]
    with speak("en"):
        said = text(Notice("m", "alert.cleared", 0.0, {"project": "p", "alerts": many}))
    assert said.subject == "[p] 9 alert(s) over: s0, s1, s2, s3, s4 …"
