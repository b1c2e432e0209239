"""What a service refuses, as exceptions: its own code, message and remedy."""

from __future__ import annotations

from typing import Any

from feilun.core.errors import Busy, Conflict, Denied, FeilunError, Invalid, Missing, Throttled
from feilun.core.i18n import _


class ServiceError(FeilunError):
    """A service did not answer with success.

    `status` is that of HTTP (0: no answer came); `said` is the service's own code, such as
    `too_many_inputs`; `fields` are single fields at fault; `retry_after_seconds` is what the
    service asked for; `request_id` names the request in its logs.
    """

    def __init__(
        self,
        said: str,
        message: str,
        *,
        remedy: str | None = None,
        status: int = 0,
        fields: list[dict[str, Any]] | None = None,
        retry_after_seconds: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.said = said
        self.status = status
        self.fields = fields or []
        self.retry_after_seconds = retry_after_seconds
        self.request_id = request_id


class Refused(ServiceError, Invalid):
    """The request cannot be used as it is (400, 405, 408, 413, 415, 422)."""


class KeyRefused(ServiceError, Denied):
    """No key, a wrong one, or one without that permission (401, 403)."""


class NotThere(ServiceError, Missing):
    """What was asked for does not exist (404)."""


class Conflicting(ServiceError, Conflict):
    """It differs from what is there (409)."""


class Limited(ServiceError, Throttled):
    """More than the key may ask for, and retrying did not help (429)."""


class Unavailable(ServiceError, Busy):
    """The service is up but does not answer now, and retrying did not help (502, 503, 504)."""


class ServiceFailed(ServiceError):
    """The service failed (500, 507), or what answered is none."""


class NoAnswer(ServiceError, Busy):
    """No answer came: no connection, or it broke, or the time was over, each time it was tried."""

    def __init__(self, url: str, reason: str, tries: int) -> None:
        super().__init__(
            "no_answer",
            _("{url} did not answer ({reason}); tried {tries} time(s).").format(
                url=url, reason=reason, tries=tries
            ),
            remedy=_("Is it running there? feilun status"),
        )


_OF_STATUS: dict[int, type[ServiceError]] = {
    401: KeyRefused,
    403: KeyRefused,
    404: NotThere,
    409: Conflicting,
    429: Limited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(
    status: int, content: Any, retry_after_seconds: float | None, request_id: str | None
) -> ServiceError:
    """The exception for an answer that is no success; `content` is its JSON, None if it has
    none: a proxy's answer has our shape as little as another program's."""
    told = content.get("error") if isinstance(content, dict) else None
    told = told if isinstance(told, dict) else {}
    kind = _OF_STATUS.get(status, Refused if 400 <= status < 500 else ServiceFailed)
    fields = told.get("fields")
    return kind(
        str(told.get("code") or f"status_{status}"),
        str(told.get("message") or _("The service answered {status}.").format(status=status)),
        remedy=str(told["remedy"]) if told.get("remedy") else None,
        status=status,
        fields=fields if isinstance(fields, list) else None,
        retry_after_seconds=retry_after_seconds,
        request_id=request_id,
    )
