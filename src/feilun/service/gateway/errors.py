"""What can go wrong between a chat and the server that is to answer it.

A fault of that server is a 502 or 504, never a 401 or 403: those would say that the key in the
request is wrong, which it is not. `asks_again` tells clients whether another try may help, and
`retry_seconds` when.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from feilun.core.errors import Busy, Invalid, Missing, Throttled, shortened
from feilun.core.i18n import _

_SHOWN = 10


class NoGateway(Missing):
    """No server is set to which chats could be passed on."""

    def __init__(self) -> None:
        super().__init__(
            _("This service passes no chats on: feilun.toml has no [serve.gateway]."),
            remedy=_('Set url = "https://HOST/v1" under [serve.gateway] and start it again.'),
        )


class ModelNotFound(Missing):
    """The request names a model that [serve.gateway] does not offer."""

    def __init__(self, model: str, offered: Iterable[str]) -> None:
        self.param = "model"
        some = list(offered)[:_SHOWN]
        super().__init__(
            _("The gateway offers no model '{model}'; [serve.gateway] models names them.").format(
                model=shortened(model)
            ),
            remedy=_("Ask for one of: {models}").format(models=shortened(", ".join(some), 300)),
        )


class OwnModel(Invalid):
    """The request names a model of this project, which does not chat."""

    def __init__(self, model: str, task: str) -> None:
        self.param = "model"
        super().__init__(
            _("'{model}' is a model of this project; it does the task '{task}', not chats.").format(
                model=shortened(model), task=task
            ),
            remedy=f"POST /v1/{task}",
        )


class ChatUnusable(Invalid):
    """The body cannot be passed on."""

    def __init__(self, param: str, reason: str) -> None:
        self.param = param
        super().__init__(
            _("The chat cannot be passed on: {reason}.").format(reason=reason),
            remedy=_("GET /docs shows the body that this path takes."),
        )


class NotMaskable(Invalid):
    """A message has content in which personal data cannot be looked for."""

    def __init__(self, kind: str) -> None:
        self.param = "messages"
        super().__init__(
            _("A message has content of the type '{kind}', which cannot be masked.").format(
                kind=shortened(kind, 40)
            ),
            remedy=_("Send text alone, or set mask = false under [serve.gateway]."),
        )


class GatewayFull(Busy):
    """As many chats as allowed are under way."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            _("{limit} chats are under way; [serve.gateway] max_concurrent sets the limit.").format(
                limit=limit
            ),
            remedy=_("Try again in a second."),
        )


class UpstreamRefused(Busy):
    """The server does not take the gateway's token (401, 403)."""

    kind = "upstream"
    asks_again = False

    def __init__(self, host: str, status: int) -> None:
        super().__init__(
            _("The server {host} refuses the gateway's token ({status}).").format(
                host=host, status=status
            ),
            remedy=_(
                "Whoever runs this service: check the variable that `token` names under "
                "[serve.gateway]."
            ),
        )


class UpstreamLacks(Missing):
    """The server does not know the address or the model (404)."""

    def __init__(self, host: str, model: str) -> None:
        self.param = "model"
        super().__init__(
            _("The server {host} knows no model {model}, or no /chat/completions (404).").format(
                host=host, model=shortened(model)
            ),
            remedy=_("Check url (it often ends in /v1) and models under [serve.gateway]."),
        )


class UpstreamRejected(Invalid):
    """The server does not take this request (400, 413, 422…); `said` is its own reason."""

    kind = "malformed"

    def __init__(self, host: str, status: int, said: str) -> None:
        super().__init__(
            _("The server {host} does not take the request ({status}): {said}").format(
                host=host, status=status, said=shortened(said, 300) or "-"
            ),
            remedy=_("Change what it names; the gateway passes parameters on as they are."),
        )


class UpstreamLimited(Throttled):
    """The server asks for patience (429); `retry_seconds` when it says how long."""

    def __init__(self, host: str, retry_seconds: float | None) -> None:
        self.retry_seconds = None if retry_seconds is None else max(1, math.ceil(retry_seconds))
        super().__init__(
            _("The server {host} takes no more requests for now (429).").format(host=host),
            remedy=_("Try again in {wait}.").format(wait=f"{self.retry_seconds} s")
            if self.retry_seconds
            else _("Try again later, or have its limit raised."),
        )


class UpstreamFailed(Busy):
    """The server cannot be reached, or has a fault of its own (5xx)."""

    kind = "upstream"

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            _("The server {host} gave no answer: {reason}").format(host=host, reason=reason),
            remedy=_("Try again later; the fault is on the other side."),
        )


class UpstreamLate(Busy):
    """The server did not answer in time, or fell silent."""

    kind = "late"

    def __init__(self, host: str, setting: str, seconds: float) -> None:
        super().__init__(
            _("The server {host} was too slow: [serve.gateway] {setting} is {seconds:g}.").format(
                host=host, setting=setting, seconds=seconds
            ),
            remedy=_("Ask for less at once, or raise the limit in feilun.toml."),
        )


class UpstreamUnusable(Busy):
    """What the server answers is no chat completion, or too long."""

    kind = "upstream"
    asks_again = False

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            _("The server {host} gives no usable answer: {reason}.").format(
                host=host, reason=reason
            ),
            remedy=_("Check url under [serve.gateway]: it must offer OpenAI's API."),
        )


class UpstreamBrokeOff(Busy):
    """The server's answer ended before it was complete."""

    kind = "upstream"

    def __init__(self, host: str, said: str = "") -> None:
        reason = f" ({shortened(said, 200)})" if said else ""
        super().__init__(
            _("The server {host} broke its answer off{reason}.").format(host=host, reason=reason),
            remedy=_("Send the request again; what was received is only a part."),
        )
