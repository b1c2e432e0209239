"""Asking a language model behind an OpenAI-compatible `/chat/completions`.

A server of one's own (llama.cpp, Ollama, vLLM) or a provider's. The owner names it in
`feilun.toml`, so it may lie in a private network; it is never left for another address, neither
by a redirect nor by a proxy of the environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from feilun.core.errors import Busy, Denied, Invalid, Missing, disk_error, shortened
from feilun.core.i18n import _
from feilun.core.secret import Secret

if TYPE_CHECKING:
    import httpx

CONCURRENT = 4
"""Requests at the same time: what a small server of one's own bears."""
RETRIES = 4
LONGEST_WAIT = 60.0
"""Seconds between two tries at most, whatever `Retry-After` says."""
MOST_BYTES = 1 << 20
"""Bytes of one answer; the rest is not read."""
TOLERATED = 8
"""Unusable answers in a row, before any usable one, after which the server is given up."""


class EndpointInvalid(Invalid):
    """The address cannot be one of a server."""

    def __init__(self, url: str) -> None:
        super().__init__(
            _("The endpoint {url} is not an address such as http://127.0.0.1:11434/v1.").format(
                url=shortened(url.partition("?")[0].rpartition("@")[2])
            ),
            remedy=_("Set endpoint to an http or https address without user, query or fragment."),
        )


class EndpointRefused(Denied):
    """The server does not take the token."""

    def __init__(self, host: str, status: int) -> None:
        super().__init__(
            _("The endpoint {host} refuses us ({status}).").format(host=host, status=status),
            remedy=_('Set token = "env:NAME" to the variable that holds a valid token.'),
        )


class EndpointLacks(Missing):
    """The server does not know the address or the model."""

    def __init__(self, host: str, model: str) -> None:
        super().__init__(
            _("The endpoint {host} knows no model {model}, or no /chat/completions (404).").format(
                host=host, model=shortened(model)
            ),
            remedy=_("Check endpoint (it often ends in /v1) and model."),
        )


class EndpointBusy(Busy):
    """The server cannot be reached, or had no time for us in any of the tries."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            _("The endpoint {host} gave no answer in {tries} tries: {reason}.").format(
                host=host, tries=RETRIES + 1, reason=reason
            ),
            remedy=_("Run the same command again later: what was answered is kept."),
        )


class EndpointUnusable(Invalid):
    """What the server answers are not chat completions."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(
            _("The endpoint {host} gives no usable answers: {reason}.").format(
                host=host, reason=reason
            ),
            remedy=_("Check endpoint and model: it must offer OpenAI's /chat/completions."),
        )


class Ask(NamedTuple):
    """One question: what to do (`system`), and the text to do it with."""

    system: str
    text: str


class Answer(NamedTuple):
    """The answer, None where there is none (refused, cut off), and the tokens it cost: 0 where
    it was known already."""

    text: str | None
    tokens: int


class _Again(Exception):  # it never leaves this module
    """Try again after `seconds` (None: our own choice)."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


class Endpoint:
    """A chat model that answers lists of questions, `CONCURRENT` at a time.

    `url` is up to where `/chat/completions` begins; `token` is sent as a bearer token. `cache`
    is a folder: an answer in it is not asked for again, so a killed run goes on without paying
    twice. `timeout` are the seconds of one request. Raises `EndpointInvalid`, `SecretMissing`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        token: Secret | None = None,
        cache: Path | None = None,
        timeout: float = 120.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = _checked(url)
        self._host = urlsplit(url).netloc
        self._model = model
        self._headers = {b"Accept-Encoding": b"identity"}
        if token is not None:
            # As bytes: an error about a letter that is not ASCII would show the whole of it.
            self._headers[b"Authorization"] = f"Bearer {token.reveal()}".encode()
        self._cache = cache
        self._timeout = timeout
        self._sleep = sleep
        self._unusable: int | None = 0  # None: it has given a usable answer
        self._gone = threading.Event()

    def answers(
        self, asks: Sequence[Ask], *, seed: int = 0, temperature: float = 0.7, longest: int = 1024
    ) -> list[Answer]:
        """An answer for each question, in their order.

        `longest` is the most tokens of one. 429, 5xx, timeouts and broken connections are tried
        again with growing pauses, or those that `Retry-After` asks for. A question that is
        refused alone (400, 413, 422) has no answer. Raises `EndpointRefused`, `EndpointLacks`,
        `EndpointBusy`, `EndpointUnusable`; no message holds the token or a text.
        """
        # It takes 60 ms to import, and serving knows this module without asking anybody.
        import httpx

        self._gone.clear()
        limits = httpx.Limits(max_connections=CONCURRENT)
        with (
            httpx.Client(
                headers=self._headers,
                timeout=self._timeout,
                follow_redirects=False,
                trust_env=False,
                limits=limits,
            ) as http,
            ThreadPoolExecutor(CONCURRENT) as pool,
        ):
            bodies = [
                {
                    "model": self._model,
                    "messages": [
                        {"role": "system", "content": ask.system},
                        {"role": "user", "content": ask.text},
                    ],
                    "temperature": temperature,
                    "max_tokens": longest,
                    "seed": seed,
                    "stream": False,
                }
                for ask in asks
            ]
            waiting = [pool.submit(self._answer, http, body) for body in bodies]
            try:
                return [future.result() for future in waiting]
            finally:
                # Also when the caller is interrupted: nothing more is asked and paid for.
                self._gone.set()

    def _answer(self, http: httpx.Client, body: dict[str, Any]) -> Answer:
        known = self._known(body)
        if known is not None:
            return known
        for tried in range(RETRIES + 1):
            if self._gone.is_set():
                return Answer(None, 0)
            try:
                answer = self._asked(http, body)
            except _Again as error:
                if tried == RETRIES:
                    self._gone.set()
                    raise EndpointBusy(self._host, str(error)) from None
                pause = 2.0**tried if error.seconds is None else error.seconds
                self._sleep(min(pause, LONGEST_WAIT))
            else:
                self._keep(body, answer)
                return answer
        raise AssertionError("unreachable")

    def _asked(self, http: httpx.Client, body: dict[str, Any]) -> Answer:
        status, headers, content = self._posted(http, body)
        if status in {401, 403}:
            self._gone.set()
            raise EndpointRefused(self._host, status)
        if status == 404:
            self._gone.set()
            raise EndpointLacks(self._host, self._model)
        if status in {408, 409, 429} or status >= 500:
            raise _Again(str(status), _retry_after(headers.get("Retry-After")))
        if status in {400, 413, 422}:
            self._count_unusable(str(status))
            return Answer(None, 0)
        answer = _read(content) if status == 200 else None
        if answer is None:
            self._count_unusable(str(status) if status != 200 else _("not a chat completion"))
            return Answer(None, 0)
        self._unusable = None
        return answer

    def _posted(
        self, http: httpx.Client, body: dict[str, Any]
    ) -> tuple[int, httpx.Headers, bytes | None]:
        """Status, headers and content (None: too long, or packed although we said not to)."""
        import httpx

        until = time.monotonic() + self._timeout
        content = bytearray()
        try:
            with http.stream("POST", self._url, json=body) as response:
                packed = response.headers.get("Content-Encoding", "identity") != "identity"
                for chunk in response.iter_raw():
                    content += chunk
                    if packed or len(content) > MOST_BYTES:
                        return response.status_code, response.headers, None
                    # The client's own limit is for each read: a server could drip for ever.
                    if time.monotonic() > until:
                        raise _Again(_("too slow"))
                return response.status_code, response.headers, bytes(content)
        except httpx.TimeoutException:
            raise _Again(_("too slow")) from None
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise _Again(type(error).__name__) from None

    def _count_unusable(self, reason: str) -> None:
        if self._unusable is None:
            return
        self._unusable += 1
        if self._unusable >= TOLERATED:
            self._gone.set()
            raise EndpointUnusable(self._host, reason)

    def _place(self, body: dict[str, Any]) -> Path | None:
        if self._cache is None:
            return None
        asked = json.dumps([self._url, body], ensure_ascii=False, sort_keys=True)
        digest = hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()
        return self._cache / digest[:2] / f"{digest}.json"

    def _known(self, body: dict[str, Any]) -> Answer | None:
        place = self._place(body)
        try:
            kept = json.loads(place.read_text(encoding="utf-8")) if place else None
        except (OSError, ValueError):
            return None
        text = kept.get("text") if isinstance(kept, dict) else None
        return Answer(text, 0) if isinstance(text, str) else None

    def _keep(self, body: dict[str, Any], answer: Answer) -> None:
        place = self._place(body)
        if place is None or answer.text is None:
            return
        # Two processes may keep the same answer: each writes its own file, then names it.
        draft = place.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps({"text": answer.text}), encoding="utf-8")
            draft.replace(place)
        except OSError as error:
            raise disk_error(error, place) or error from None


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise EndpointInvalid(url) from None
    odd = parts.query or parts.fragment or "@" in parts.netloc or port == 0
    if parts.scheme not in {"http", "https"} or not parts.hostname or odd:
        raise EndpointInvalid(url)
    return url.rstrip("/") + "/chat/completions"


def _retry_after(value: str | None) -> float | None:
    """The seconds that the header asks for (RFC 9110, 10.2.3); None: it says nothing."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())


def _read(content: bytes | None) -> Answer | None:
    """The answer in the body of a chat completion; None: it is none. One that was cut off at
    its longest has no text, but has cost its tokens."""
    try:
        found = json.loads(content or b"")
        choice = found["choices"][0]
        text = choice["message"]["content"]
        usage = found.get("usage")
        finished = choice.get("finish_reason")
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        return None
    if not isinstance(text, str):
        return None
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else 0
    paid = tokens if isinstance(tokens, int) and 0 <= tokens < 2**31 else 0
    if finished in {"length", "content_filter"}:
        return Answer(None, paid)
    # Models that think aloud do it before the answer; what is left open was cut off.
    open_ended = "<think>" in text and "</think>" not in text
    text = "" if open_ended else text.rpartition("</think>")[2].strip()
    sound = text.encode("utf-8", "replace").decode("utf-8")
    return Answer(sound or None, paid)
