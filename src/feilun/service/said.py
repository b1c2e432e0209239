"""Answers of the express way as bytes: what most of them share is written once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from feilun.core.errors import FeilunError
from feilun.core.i18n import speak
from feilun.service import errors
from feilun.service.exchange import head_of
from feilun.service.headers import SECURITY
from feilun.stages.serve import Overloaded, Serve, TooManyWaiting

Headers = tuple[tuple[bytes, bytes], ...]
_JSON: Headers = ((b"content-type", b"application/json"),)
_END = b"\r\n\r\n"


class Said(NamedTuple):
    """An answer: the headers are those that its status and body ask for; `code` of an error."""

    status: int
    body: bytes
    headers: Headers
    code: str = ""


def good(content: Any) -> Said:
    """200, with the content as JSON."""
    return Said(200, errors.json_bytes(content), _JSON)


def refused(problem: FeilunError) -> Said:
    """What the error asks for, in the language that is spoken here."""
    response = errors.answer(problem)
    headers = tuple(one for one in response.raw_headers if one[0] != b"content-length")
    return Said(response.status_code, bytes(response.body), headers, problem.code)


class Written:
    """Writes answers, and knows those that many get."""

    def __init__(self, serve: Serve) -> None:
        self._limits = {Overloaded: serve.queue, TooManyWaiting: serve.queue_texts}
        self._refusals: dict[tuple[Callable[..., FeilunError], str | None], Said] = {}
        self._dated: Any = None
        self._usual: dict[tuple[int, Headers], bytes] = {}

    def refusal(self, why: Callable[..., FeilunError], language: str | None) -> Said:
        """Of a reason that many are refused for; what was raised elsewhere does not speak the
        language of the request."""
        said = self._refusals.get((why, language))
        if said is None:
            with speak(language):
                given = [self._limits[why]] if why in self._limits else []
                said = self._refusals[why, language] = refused(why(*given))
        return said

    def at_the_door(self, language: str | None) -> tuple[bytes, bytes]:
        """What those get whom the doorman refuses, before and behind the request's id; without a
        date, which an answer of 5xx may do without."""
        said = self.refusal(Overloaded, language)
        head = head_of(said.status, [*said.headers, *SECURITY])[:-2]
        return head + _tail(said), _END + said.body

    def whole(
        self,
        said: Said,
        default: list[tuple[bytes, bytes]],
        identity: str,
        more: Headers,
        *,
        keep_alive: bool,
    ) -> bytes:
        """The answer to the request with this id; `default` are the headers of every answer."""
        head = self._head(said, default, more, keep_alive)
        return head + _tail(said) + identity.encode() + _END + said.body

    def _head(
        self, said: Said, default: list[tuple[bytes, bytes]], more: Headers, keep_alive: bool
    ) -> bytes:
        """The head but for its end; of most, the same until the date changes."""
        if not keep_alive or more:
            closing = [] if keep_alive else [(b"connection", b"close")]
            whole = [*default, *said.headers, *more, *SECURITY, *closing]
            return head_of(said.status, whole)[:-2]
        if self._dated is not default:
            self._dated, self._usual = default, {}
        named = said.status, said.headers
        head = self._usual.get(named)
        if head is None:
            whole = [*default, *said.headers, *SECURITY]
            head = self._usual[named] = head_of(said.status, whole)[:-2]
        return head


def _tail(said: Said) -> bytes:
    return b"content-length: %d\r\nx-request-id: " % len(said.body)
