"""Messages to another service, signed as Standard Webhooks wants it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import Field, model_validator

from feilun.core.errors import FeilunError, Invalid
from feilun.core.i18n import _
from feilun.core.secret import Secret
from feilun.stages.serve.channel import Channel, EventName, Notice

SECONDS = 5.0
"""For one try in all, from the lookup of the name to the end of the answer."""
MOST_BYTES = 65_536
"""Of an answer; nothing in it is used."""


class WebhookSecretInvalid(Invalid):
    """The secret of a webhook is none of Standard Webhooks."""

    def __init__(self, variable: str) -> None:
        super().__init__(
            _(
                "The environment variable {name} holds no webhook secret: 'whsec_' and then 24 to "
                "64 bytes in base64."
            ).format(name=variable),
            remedy=f'export {variable}="whsec_$(openssl rand -base64 32)"',
        )


class Webhook(Channel):
    """Messages as POST requests in JSON, with the headers `webhook-id`, `webhook-timestamp` and
    `webhook-signature` of Standard Webhooks.

    Any answer of 2xx within five seconds means that it arrived; redirects are not followed. What
    is sent is signed, the secret itself never leaves this machine.
    """

    use: ClassVar[str] = "webhook"

    url: str = Field(description="where to; https, or http in your own network")
    secret: Secret = Field(description="what messages are signed with: `whsec_` and base64")
    old_secret: Secret | None = Field(
        None, description="signs beside `secret` while receivers change over"
    )
    events: tuple[EventName, ...] = Field(min_length=1, description="what it is told of")
    allow: tuple[str, ...] = Field(
        (), description="`HOST:PORT` that may lie in your own network or have another port"
    )

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Webhook:
        from feilun.core.outbound import allowed, parsed

        try:
            parsed(self.url, allowed(self.allow))
        except FeilunError as error:
            raise ValueError(error.message) from None
        return self

    @property
    def told(self) -> tuple[str, ...]:
        return self.events

    @property
    def target(self) -> str:
        return self.url

    @property
    def shown(self) -> str:
        from feilun.core.outbound.errors import origin

        return origin(self.url)

    def send(self, notice: Notice) -> None:
        """As every channel's; raises `SecretMissing`, `WebhookSecretInvalid`, or what
        `core/outbound` raises."""
        from feilun.core.outbound import Outbound, allowed

        body = json.dumps(content(notice), ensure_ascii=False, separators=(",", ":"))
        client = Outbound(
            allow=allowed(self.allow),
            most_bytes=MOST_BYTES,
            connect_seconds=SECONDS,
            read_seconds=SECONDS,
            total_seconds=SECONDS,
        )
        client.post(self.url, body.encode(), self._headers(notice.id, body))

    def _headers(self, identity: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)
        secrets = [self.secret] if self.old_secret is None else [self.secret, self.old_secret]
        signatures = [_signed(secret, identity, now, body) for secret in secrets]
        return {
            "content-type": "application/json",
            "webhook-id": identity,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }


def content(notice: Notice) -> dict[str, Any]:
    """The body of a message."""
    at = datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="milliseconds")
    return {"type": notice.event, "timestamp": at, "data": notice.data}


def _signed(secret: Secret, identity: str, now: datetime, body: str) -> str:
    from standardwebhooks import Webhook as Signer

    text = secret.reveal()
    try:
        if not text.startswith("whsec_") or not 24 <= len(_decoded(text)) <= 64:
            raise ValueError
        return Signer(text).sign(identity, now, body)
    except ValueError:
        raise WebhookSecretInvalid(secret.variable) from None


def _decoded(secret: str) -> bytes:
    from base64 import b64decode

    return b64decode(secret.removeprefix("whsec_"), validate=True)
