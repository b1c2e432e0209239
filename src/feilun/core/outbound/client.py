"""Requests to addresses that somebody else wrote down, made so that they cannot be turned inwards.

A name is looked up once, every address it has must be on the public internet, and the connection
goes to the very address that was checked: a name that changes its mind (DNS rebinding) changes
nothing. TLS still proves the name. No redirect is followed, no proxy and no other setting is taken
from the environment, no cookie is kept, and what comes back is bounded in size and time.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import httpcore
import httpx

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.core.outbound import errors
from feilun.core.outbound.addresses import Resolver, is_public, resolve, system_addresses
from feilun.core.outbound.body import ACCEPTED, NotUnpackable, TooLarge, unpacked
from feilun.core.outbound.network import Pinned
from feilun.core.outbound.urls import PORTS, Target, parsed

MOST_BYTES = 32 << 20
_IF_CHANGED = b"if-none-match"


class Answer(NamedTuple):
    """What a host answered: the status (2xx, or 304 where `If-None-Match` was sent), the headers
    by lower-case name, and the unpacked body."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Outbound:
    """The one way in which Feilun calls a host whose address is a setting or comes from data.

    `allow` has the `host:port` that the project's owner named: only these may be private, and
    only these may have other ports than 443 and 80. Whoever is named is trusted with where the
    name leads, so an address is better there than a name. Each request has a connection of its
    own; threads may share one `Outbound`. `total_seconds` bounds a request whatever the host
    does; `most_bytes` its answer, as it is sent and as it is unpacked.
    """

    allow: frozenset[str] = frozenset()
    most_bytes: int = MOST_BYTES
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    total_seconds: float = 300.0
    resolver: Resolver = system_addresses
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """What GET gives; every answer but 2xx, and every refusal, is an error (`request`)."""
        return self.request("GET", url, headers)

    def post(self, url: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """What POST of `body` gives, as `get`."""
        return self.request("POST", url, headers, body)

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """The answer to one request.

        Raises `UrlRefused` and `HostRefused` before anything is sent; else `Unreachable`,
        `Redirected`, `HostBusy`, `CredentialsRefused`, `PageMissing`, `RequestRefused`,
        `AnswerTooLarge` or `AnswerBroken`.
        """
        target = parsed(url, self.allow)
        sent = _sent(target, headers or {})
        waits = {"connect": self.connect_seconds, "pool": self.connect_seconds}
        waits |= {"read": self.read_seconds, "write": self.read_seconds}
        network = Pinned(lambda: self.addresses(target), time.monotonic() + self.total_seconds)
        tls = self.tls or public_authorities()
        place = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path,
        )
        try:
            with (
                httpcore.ConnectionPool(ssl_context=tls, network_backend=network) as pool,
                pool.stream(
                    method, place, headers=sent, content=body, extensions={"timeout": waits}
                ) as response,
            ):
                return self._answer(target, response, asked_for_change=_IF_CHANGED in dict(sent))
        except httpcore.TimeoutException:
            raise errors.Unreachable(url, _("it is too slow.")) from None
        except httpcore.NetworkError as error:
            raise errors.Unreachable(url, network_reason(error)) from None
        except httpcore.RemoteProtocolError:
            raise errors.AnswerBroken(url, _("it breaks the rules of HTTP.")) from None
        except httpcore.LocalProtocolError:
            raise errors.UrlRefused(
                url, _("a header or the path has characters that cannot be sent.")
            ) from None

    def addresses(self, target: Target) -> list[str]:
        """The addresses of the target's host, each of them public, or the host allowed; raises
        `HostRefused`, `Unreachable`."""
        try:
            found = resolve(self.resolver, target.host, target.port, self.connect_seconds)
        except TimeoutError:
            reason = _("looking up its name takes too long.")
            raise errors.Unreachable(target.url, reason) from None
        except OSError:
            found = []
        if not found:
            raise errors.Unreachable(target.url, _("there is no such host."))
        if target.place not in self.allow:
            for address in found:
                if not is_public(address):
                    raise errors.HostRefused(target.place, address)
        return found

    def _answer(
        self, target: Target, response: httpcore.Response, *, asked_for_change: bool
    ) -> Answer:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers
        }
        status = response.status
        if not (200 <= status < 300 or (status == 304 and asked_for_change)):
            raise _refusal(target.url, status, headers)
        # What is sent is bounded too: a packed stream may unpack to nothing for ever.
        chunks = _bounded(response.iter_stream(), self.most_bytes)
        try:
            body = unpacked(chunks, headers.get("content-encoding", ""), self.most_bytes)
        except TooLarge:
            raise errors.AnswerTooLarge(target.url, self.most_bytes) from None
        except NotUnpackable:
            reason = _("it is packed in an unknown or damaged way.")
            raise errors.AnswerBroken(target.url, reason) from None
        return Answer(status, headers, body)


@cache
def public_authorities() -> ssl.SSLContext:
    """The authorities that certificates are held against; nothing of the environment is."""
    return httpx.create_ssl_context(trust_env=False)


def _sent(target: Target, headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    ours = {"user-agent": "feilun", "accept": "*/*"}
    fixed = {
        "host": target.named if target.port == PORTS[target.scheme] else target.place,
        "accept-encoding": ACCEPTED,
        "connection": "close",
    }
    given = {name.lower(): value for name, value in headers.items()}
    try:
        return [
            (name.encode("ascii"), value.encode("ascii"))
            for name, value in {**ours, **given, **fixed}.items()
        ]
    except UnicodeEncodeError:
        raise errors.UrlRefused(
            target.url, _("a header or the path has characters that cannot be sent.")
        ) from None


def _bounded(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit:
            raise TooLarge
        yield chunk


def network_reason(error: httpcore.NetworkError) -> str:
    """Why a connection was not made, or broke, for people."""
    # httpcore hands on what the socket said as the first argument.
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _("its certificate does not prove that it is this host.")
    if isinstance(cause, ssl.SSLError):
        return _("it does not speak TLS as it should.")
    if isinstance(error, httpcore.ConnectError):
        return _("it takes no connection.")
    return _("the connection broke.")


def _refusal(url: str, status: int, headers: Mapping[str, str]) -> FeilunError:
    if 300 <= status < 400 and "location" in headers:
        return errors.Redirected(url, status, headers["location"])
    if status in {401, 403, 407}:
        return errors.CredentialsRefused(url, status)
    if status in {404, 410}:
        return errors.PageMissing(url, status)
    if status == 429 or status >= 500:
        return errors.HostBusy(url, status, headers.get("retry-after", ""))
    return errors.RequestRefused(url, status)
