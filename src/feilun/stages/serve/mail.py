"""Messages to people, by e-mail."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from feilun.core.errors import Busy, Denied, Invalid, shortened
from feilun.core.i18n import _
from feilun.core.secret import Secret
from feilun.stages.serve.channel import Channel, EventName, Notice

SECONDS = 20.0
"""For each step of the conversation with the mail server."""
_TITLES = 5


class MailServerUnreachable(Busy):
    """The mail server takes no connection, breaks off, or asks for patience (4xx)."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            _("The mail server {host} cannot be reached: {reason}.").format(
                host=shortened(host), reason=reason
            ),
            remedy=_("Check host, port and security of the channel in feilun.toml."),
        )


class MailRefused(Invalid):
    """The mail server does not take the message (5xx)."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(
            _("The mail server {host} refuses the message ({status}).").format(
                host=shortened(host), status=status
            ),
            remedy=_("Check sender and to of the channel in feilun.toml."),
        )


class MailLoginRefused(Denied):
    """The mail server does not take the user's password."""

    def __init__(self, host: str) -> None:
        super().__init__(
            _("The mail server {host} refuses user and password.").format(host=shortened(host)),
            remedy=_("Check user, and the environment variable that password names."),
        )


class Text(NamedTuple):
    """What people read of a message."""

    subject: str
    body: str


class Mail(Channel):
    """Messages as e-mail, one each, in plain text. The server is named by the project's owner,
    so it may lie in a private network; its certificate is checked, and a password is never sent
    over a connection that is not encrypted.
    """

    use: ClassVar[str] = "mail"

    host: str = Field(min_length=1, description="the mail server (SMTP)")
    port: int = Field(587, ge=1, le=65535, description="587: STARTTLS, 465: TLS, 25: none")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="none: only without a password, to a server of your own"
    )
    user: str | None = Field(None, description="left out: the server asks for none")
    password: Secret | None = Field(None, description="of the user")
    sender: str = Field(pattern=r"^[^\s@<>]+@[^\s@<>]+$", description="from whom")
    to: tuple[str, ...] = Field(min_length=1, description="to whom")
    events: tuple[EventName, ...] = Field(
        ("alert.raised", "alert.cleared"), min_length=1, description="what it is told of"
    )

    @model_validator(mode="after")
    def _safe(self) -> Mail:
        if self.security == "none" and self.password is not None:
            raise ValueError(_("a password needs security = 'starttls' or 'tls'"))
        if (self.user is None) != (self.password is None):
            raise ValueError(_("user and password belong together"))
        for address in self.to:
            if "@" not in address or any(c.isspace() or c in "<>" for c in address):
                raise ValueError(_("'{address}' is no e-mail address").format(address=address))
        return self

    @property
    def told(self) -> tuple[str, ...]:
        return self.events

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port} {' '.join(self.to)}"

    @property
    def shown(self) -> str:
        return ", ".join(self.to)

    def send(self, notice: Notice) -> None:
        """As every channel's; raises `SecretMissing`, `MailServerUnreachable`, `MailRefused`,
        `MailLoginRefused`."""
        message = self._message(notice)
        try:
            with self._connected() as server:
                if self.user is not None and self.password is not None:
                    server.login(self.user, self.password.reveal())
                server.send_message(message)
        except smtplib.SMTPAuthenticationError:
            raise MailLoginRefused(self.host) from None
        except smtplib.SMTPRecipientsRefused as error:
            status = min(code for code, _said in error.recipients.values())
            raise self._refusal(status) from None
        except smtplib.SMTPResponseException as error:
            raise self._refusal(error.smtp_code) from None
        except ssl.SSLError:
            reason = _("its certificate does not prove that it is this host")
            raise MailServerUnreachable(self.host, reason) from None
        except (OSError, smtplib.SMTPException) as error:
            raise MailServerUnreachable(self.host, type(error).__name__) from None

    def _connected(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=SECONDS, context=context)
        server = smtplib.SMTP(self.host, self.port, timeout=SECONDS)
        try:
            if self.security == "starttls":
                server.starttls(context=context)
        except BaseException:
            server.close()
            raise
        return server

    def _refusal(self, status: int) -> Invalid | Busy:
        if 400 <= status < 500:
            return MailServerUnreachable(self.host, str(status))
        return MailRefused(self.host, status)

    def _message(self, notice: Notice) -> EmailMessage:
        from datetime import UTC, datetime

        said = text(notice)
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        message["Subject"] = " ".join(said.subject.split())
        message["Date"] = format_datetime(datetime.fromtimestamp(notice.at, UTC))
        # The same however often it is sent, so that a second copy can be told for what it is.
        message["Message-ID"] = f"<{notice.id}@feilun.invalid>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(said.body)
        return message


def text(notice: Notice) -> Text:
    """What is said of a message, in the language in force."""
    data = notice.data
    project = str(data.get("project", ""))
    alerts: list[dict[str, Any]] = data.get("alerts", [])
    if alerts:
        template = (
            _("[{project}] {count} alert(s): {names}")
            if notice.event == "alert.raised"
            else _("[{project}] {count} alert(s) over: {names}")
        )
        names = [shortened(alert["name"], 40) for alert in alerts]
        listed = ", ".join(names[:_TITLES]) + (" …" if len(names) > _TITLES else "")
        subject = template.format(project=project, count=len(alerts), names=listed)
        body = "\n".join(f"- {alert['message']}" for alert in alerts)
        return Text(subject, body + "\n")
    lines = [f"{name}: {value}" for name, value in data.items() if value is not None]
    return Text(f"[{project}] {notice.event}", "\n".join(lines) + "\n")
