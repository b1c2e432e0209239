"""How long a request waits for its answer, where it says so itself."""

from __future__ import annotations

import math
from typing import Any

from starlette.datastructures import Headers

from feilun.core.errors import Invalid, shortened
from feilun.core.i18n import N_, _

HEADER = "x-request-timeout-seconds"
LONGEST = 3600.0
PARAMETER: dict[str, Any] = {
    "name": "X-Request-Timeout-Seconds",
    "in": "header",
    "required": False,
    "description": N_(
        "After so many seconds the answer is of no use any more: what still waits then is not "
        "computed, and answered 503. At most [serve] timeout_seconds, which is also the default."
    ),
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST, "examples": [2.5]},
}
"""The header, as the OpenAPI document describes it."""


class BadTimeout(Invalid):
    """The header `X-Request-Timeout-Seconds` is no number of seconds."""

    def __init__(self, given: str) -> None:
        super().__init__(
            _(
                "X-Request-Timeout-Seconds is '{given}'; it is a number above 0, at most {longest}."
            ).format(given=shortened(given), longest=f"{LONGEST:.0f}"),
            remedy=_("Send the seconds as a number, such as 2.5, or leave the header out."),
        )


def asked_seconds(headers: Headers) -> float | None:
    """The seconds that the request gives; None: it says nothing. Raises `BadTimeout`."""
    given = headers.get(HEADER)
    if given is None:
        return None
    try:
        seconds = float(given) if given.isascii() and "_" not in given else math.nan
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST:
        raise BadTimeout(given)
    return seconds
