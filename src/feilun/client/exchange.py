"""One call and its retries, without a connection: what to send, how long to wait, what to make
of it. `Client` and `AsyncClient` only carry it out."""

from __future__ import annotations

import random
import uuid
from collections.abc import Generator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from feilun.client.errors import NoAnswer, error_of

AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may well be answered."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0
LONGEST_RETRY_AFTER_SECONDS = 60.0
"""A service that asks for more is not waited for."""


class Call(NamedTuple):
    """One request: `body` is JSON, or bytes, or a file, which is read anew for every try."""

    method: str
    path: str
    body: Any = None
    query: Mapping[str, str] | None = None
    idempotency_key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Its own headers."""
        headers = {}
        if self.idempotency_key is not None:
            headers["idempotency-key"] = self.idempotency_key
        if isinstance(self.body, bytes | Path):
            headers["content-type"] = "application/jsonl"
        if isinstance(self.body, Path):
            # Told beforehand, so that what is too large is refused before it is sent.
            headers["content-length"] = str(self.body.stat().st_size)
        return headers


class Wait(NamedTuple):
    """Wait so long before the next try."""

    seconds: float


Steps = Generator["Call | Wait", "httpx.Response | httpx.TransportError | None", httpx.Response]


def exchange(call: Call, url: str, retries: int) -> Steps:
    """The steps of a call: yields what to send and how long to wait, is sent what came of it,
    and returns the answer, whose body has been read if it is no success.

    A POST bears one idempotency key in all its tries, so that one whose answer was lost is
    not done twice. Waits grow twofold from `FIRST_WAIT_SECONDS`, each shortened by chance
    down to a half so that clients do not come back together; `Retry-After` sets the least.
    Raises a `ServiceError` when the tries are used up or would not help.
    """
    if call.method == "POST" and call.idempotency_key is None:
        call = call._replace(idempotency_key=uuid.uuid4().hex)
    tries = 0
    while True:
        answer = yield call
        tries += 1
        least: float | None = 0.0
        if isinstance(answer, httpx.Response):
            if answer.is_success:
                return answer
            least = _retry_after(answer)
            asked_too_much = least is not None and least > LONGEST_RETRY_AFTER_SECONDS
            if answer.status_code not in AGAIN or tries > retries or asked_too_much:
                raise error_of(
                    answer.status_code, _json(answer), least, answer.headers.get("x-request-id")
                )
        elif tries > retries or not isinstance(answer, _BROKEN):
            raise NoAnswer(url, type(answer).__name__, tries) from answer
        longest = min(FIRST_WAIT_SECONDS * 2 ** (tries - 1), LONGEST_WAIT_SECONDS)
        drawn = longest * random.uniform(0.5, 1.0)  # noqa: S311  # spreads load, hides nothing
        yield Wait(max(drawn, least or 0.0))


_BROKEN = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError)


def _retry_after(answer: httpx.Response) -> float | None:
    given = answer.headers.get("retry-after", "").strip()
    if given.isdigit() and len(given) < 10:
        return float(given)
    try:
        moment = parsedate_to_datetime(given).timestamp()
        return max(0.0, moment - parsedate_to_datetime(answer.headers["date"]).timestamp())
    except (ValueError, KeyError, TypeError):
        return None


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
