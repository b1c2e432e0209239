"""One shape for everything that is not a success.

    {"error": {"code": "too_large", "message": "…", "remedy": "…", "type": "…", "param": null}}

`code` is stable and for programs; `message` and `remedy` are for people, in the language of the
request; `fields` is there when single fields are at fault. `type` and `param` are for OpenAI's
clients, which read the shape as theirs: the sort of error by its status, and the field at fault.
What we did not foresee is answered as `internal_error`, without a word of what happened; the log
has its place in the code, never its values.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from feilun.core.errors import Busy, Denied, FeilunError, Full, Invalid, Missing, nearest, shortened
from feilun.core.i18n import _

STATUS = {
    "malformed": 400,
    "denied": 401,
    "forbidden": 403,
    "missing": 404,
    "method": 405,
    "slow": 408,
    "conflict": 409,
    "large": 413,
    "type": 415,
    "invalid": 422,
    "throttled": 429,
    "upstream": 502,
    "busy": 503,
    "late": 504,
    "full": 507,
}
"""The status of each kind of error; any other kind is a 500."""

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
RETRY_SECONDS = 1
SHOWN_FIELDS = 20
log = logging.getLogger("feilun.service")


class UnknownPath(Missing):
    """Nothing is answered under that path."""

    def __init__(self, path: str) -> None:
        super().__init__(
            _("There is nothing at '{path}'.").format(path=shortened(path)),
            remedy=_("GET /docs lists every path."),
        )


class WrongMethod(Invalid):
    """The path exists, but not with that method."""

    kind = "method"

    def __init__(self, method: str, path: str, allowed: Sequence[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(
            _("{path} does not take {method}; it takes {allowed}.").format(
                path=shortened(path), method=shortened(method, 20), allowed=self.allowed
            ),
            remedy=_("GET /docs lists every path."),
        )


class Malformed(Invalid):
    """The body is not JSON."""

    kind = "malformed"

    def __init__(self, reason: str) -> None:
        super().__init__(
            _("The body cannot be read: {reason}.").format(reason=reason),
            remedy=_('Send JSON such as {"input": "…"}, in UTF-8.'),
        )


class WrongType(Invalid):
    """The body is of another media type than the path takes."""

    kind = "type"

    def __init__(self, given: str, wanted: str) -> None:
        super().__init__(
            _("The body's Content-Type is '{given}'; this path takes {wanted}.").format(
                given=shortened(given) or "-", wanted=wanted
            ),
            remedy=_("Send the header 'Content-Type: {wanted}'.").format(wanted=wanted),
        )


class TooLarge(Invalid):
    """The body has more bytes than allowed."""

    kind = "large"

    def __init__(self, limit: int, setting: str = "max_body_bytes") -> None:
        super().__init__(
            _("The body has more than {limit} bytes; [serve] {setting} sets the limit.").format(
                limit=limit, setting=setting
            ),
            remedy=_("Send fewer inputs at a time, or raise {setting} in feilun.toml.").format(
                setting=setting
            ),
        )


class TooSlow(Invalid):
    """The body did not arrive in time."""

    kind = "slow"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            _("The body did not arrive within {seconds:.0f} seconds.").format(seconds=seconds),
            remedy=_("Send the request again, in one go."),
        )


class WrongHost(Denied):
    """The Host header names another machine: a page may be driving somebody's browser."""

    kind = "forbidden"

    def __init__(self, host: str) -> None:
        super().__init__(
            _("This server does not answer for the host '{host}'.").format(host=shortened(host)),
            remedy=_(
                "Use the address that feilun serve printed, or add the name to [serve] names."
            ),
        )


class WrongOrigin(Denied):
    """The request was sent by a page of another site."""

    kind = "forbidden"

    def __init__(self, origin: str) -> None:
        super().__init__(
            _("Requests from pages of '{origin}' are refused.").format(origin=shortened(origin)),
            remedy=_("Call the API from your server, not from a page of another site."),
        )


class NotStored(Full):
    """The event log cannot be written, so nothing may be acknowledged."""

    def __init__(self) -> None:
        super().__init__(
            _("The answer could not be stored, so it is not given; nothing was lost."),
            remedy=_("Free disk space on the server, then send the request again."),
        )


class NotReady(Busy):
    """Requests are not answered now."""

    def __init__(self) -> None:
        super().__init__(_("Not ready."), remedy="feilun status")


class InvalidFields(Invalid):
    """Fields of the body cannot be used; `fields` has each with its reason."""

    def __init__(self, fields: list[dict[str, str]], count: int) -> None:
        self.fields = fields
        listed = "; ".join(f"{field['field']}: {field['message']}" for field in fields)
        super().__init__(
            _("{count} field(s) of the body cannot be used: {listed}.").format(
                count=count, listed=listed
            ),
            remedy=_("GET /docs shows the body that this path takes."),
        )


class InternalError(FeilunError):
    """Something we did not foresee; its cause is in the server's log."""

    def __init__(self) -> None:
        super().__init__(
            _("Something went wrong here; it is not the request's fault."),
            remedy=_("Try again; the server's log names the place."),
        )


def ours(error: Exception) -> FeilunError:
    """`error` as one of ours; what is not foreseen is logged by its place in the code only."""
    if isinstance(error, FeilunError):
        return error
    if isinstance(error, RequestValidationError):
        return _validation(error.errors())
    if isinstance(error, HTTPException):
        if error.status_code == 400:
            return Malformed(_("it is not JSON, or too deeply nested"))
        if error.status_code == 404:
            return UnknownPath("")
        if error.status_code == 405:
            return WrongMethod("", "", [])
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
    log.error("unforeseen %s at %s", type(error).__name__, place)
    return InternalError()


def status_of(error: FeilunError) -> int:
    """The HTTP status for the error."""
    return STATUS.get(error.kind, 500)


def headers_of(error: FeilunError) -> dict[str, str]:
    """The headers that the error's status asks for."""
    status = status_of(error)
    if status == 401:
        return {"www-authenticate": 'Bearer realm="feilun"'}
    if isinstance(error, WrongMethod):
        return {"allow": error.allowed}
    if status == 503:
        return {"retry-after": str(RETRY_SECONDS)}
    if status == 429:
        return {"retry-after": str(getattr(error, "retry_seconds", RETRY_SECONDS))}
    if not getattr(error, "asks_again", True):
        # OpenAI's clients try a 5xx again by themselves, unless they are told not to.
        return {"x-should-retry": "false"}
    return {}


def content_of(error: FeilunError) -> dict[str, Any]:
    """The error's JSON body."""
    status = status_of(error)
    content: dict[str, Any] = {
        "code": error.code,
        "message": error.message,
        "remedy": error.remedy,
        "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
        "param": getattr(error, "param", None),
    }
    if isinstance(error, InvalidFields):
        content["fields"] = error.fields
        content["param"] = error.fields[0]["field"] if error.fields else None
    return {"error": content}


def answer(error: FeilunError) -> Response:
    """The error as a response."""
    return json_response(content_of(error), status_of(error), headers_of(error))


def json_response(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`content` as JSON in UTF-8."""
    return json_answer(json_bytes(content), status, headers)


def json_answer(
    body: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """What is JSON already."""
    return _Json(body, status, headers or {})


class _Json(Response):
    """JSON, without the framework's work on headers, which are all known here."""

    def __init__(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.body, self.status_code, self.background = body, status, None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *((name.lower().encode("latin-1"), v.encode("latin-1")) for name, v in headers.items()),
        ]


def json_bytes(content: Any) -> bytes:
    """`content` as JSON in UTF-8; what is no valid Unicode is replaced, never refused. Raises
    `ValueError` where a number is none."""
    # Python's own, which says so, takes six times longer.
    with suppress(PydanticSerializationError):  # half a character
        written = to_json(content, inf_nan_mode="constants")
        if b"NaN" not in written and b"Infinity" not in written:
            return written
    return _ENCODER.encode(content).encode("utf-8", "replace")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def invalid_body(error: ValidationError) -> FeilunError:
    """What pydantic says of a body, as ours."""
    details = error.errors(include_url=False, include_input=False)
    return _validation([{**detail, "loc": ("body", *detail["loc"])} for detail in details])


def _validation(details: Sequence[Any]) -> FeilunError:
    if any(detail["type"] == "json_invalid" for detail in details):
        return Malformed(_("it is not valid JSON"))
    if any(detail["loc"] == ("body",) and detail["type"] == "missing" for detail in details):
        return Malformed(_("it is empty"))
    fields = [
        {"field": _name(detail["loc"]), "message": _explain(detail)}
        for detail in details[:SHOWN_FIELDS]
    ]
    return InvalidFields(fields, len(details))


def _name(loc: Sequence[str | int]) -> str:
    name = ""
    for part in loc[1:]:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return shortened(name.lstrip("."), 60) or "body"


def _explain(detail: Mapping[str, Any]) -> str:
    kind, context = str(detail["type"]), detail.get("ctx", {})
    if kind == "extra_forbidden":
        guess = nearest(str(detail["loc"][-1]), context.get("known", _KNOWN))
        if guess:
            return _("unknown field; did you mean '{guess}'?").format(guess=guess)
        return _("unknown field")
    said = {
        "missing": _("is missing"),
        "too_short": _("must have at least {min_length} item(s)"),
        "too_long": _("must have at most {max_length} item(s)"),
        "string_too_short": _("must have at least {min_length} character(s)"),
        "string_too_long": _("must have at most {max_length} characters"),
        "literal_error": _("must be {expected}"),
        "string_type": _("must be text"),
        "text_or_texts": _("must be a text or a list of texts"),
        "feedback_value": _("must be text, true, false or a finite number"),
        "too_many_fields": _("must be an object of at most {limit} fields"),
        "one_form": _("must have exactly one of {forms}"),
    }
    if kind in said:
        return said[kind].format(**context)
    if kind.startswith(("model", "dict", "mapping")):
        return _("must be an object {{…}}").format()
    return _("cannot be used")


_KNOWN = ("input", "prediction_id", "kind", "value", "source", "idempotency_key")
