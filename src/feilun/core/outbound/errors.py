"""Why a request to another machine was not made, or not answered.

No message repeats a body, a header that was sent, or more of an address than scheme, host and
port: a path or a query may be a secret (the addresses of chat webhooks are).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from feilun.core.errors import Busy, Denied, Invalid, Missing, shortened
from feilun.core.i18n import _

_LONG_SEGMENT = re.compile(r"[^/]{20,}")


class UrlRefused(Invalid):
    """An address is none that Feilun calls, whatever stands behind it."""

    def __init__(self, url: str, reason: str, remedy: str | None = None) -> None:
        super().__init__(
            _("The address {url} is not called: {reason}").format(url=origin(url), reason=reason),
            remedy=remedy
            or _("Write it as https://HOST/PATH, without a name or password, on port 443 or 80."),
        )


class HostRefused(Denied):
    """A host is, or leads to, an address that is not on the public internet."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(
            _("{host} leads to {address}, which is not on the public internet.").format(
                host=shortened(host), address=shortened(address)
            ),
            remedy=_(
                'If it is meant, name it where the URL is set in feilun.toml: allow = ["{host}"]'
            ).format(host=shortened(host)),
        )


class Redirected(Invalid):
    """The host points elsewhere; Feilun does not follow."""

    def __init__(self, url: str, status: int, target: str) -> None:
        super().__init__(
            _("{url} answered {status} and points to {target}; redirects are not followed.").format(
                url=origin(url), status=status, target=shortened(_without_secrets(target), 200)
            ),
            remedy=_("If that is the right place, write its address where the URL is set."),
        )


class Unreachable(Busy):
    """The host has no address, takes no connection, or is too slow."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            _("{url} cannot be reached: {reason}").format(url=origin(url), reason=reason),
            remedy=_("Try again later; check the address and the network."),
        )


class Stalled(Unreachable):
    """The host took the request and then fell silent."""

    def __init__(self, url: str) -> None:
        super().__init__(url, _("it is too slow."))


class HostBusy(Busy):
    """The host asks for patience (429), or has a fault of its own (5xx)."""

    def __init__(self, url: str, status: int, retry_after: str = "") -> None:
        wait = f"{retry_after} s" if re.fullmatch(r"\d{1,6}", retry_after) else ""
        super().__init__(
            _("{url} answered {status}.").format(url=origin(url), status=status),
            remedy=_("Try again in {wait}.").format(wait=wait)
            if wait
            else _("Try again later; the fault is on the other side."),
        )


class CredentialsRefused(Denied):
    """The host wants another key (401, 403, 407)."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            _("{url} answered {status}: it refuses the credentials.").format(
                url=origin(url), status=status
            ),
            remedy=_("Check the environment variable that `token` names, and what it may read."),
        )


class PageMissing(Missing):
    """The host has nothing under that address (404, 410)."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            _("{url} answered {status}: there is nothing under this address.").format(
                url=origin(url), status=status
            ),
            remedy=_("Mend `url` in feilun.toml."),
        )


class RequestRefused(Invalid):
    """The host does not take the request (any other status)."""

    def __init__(self, url: str, status: int) -> None:
        super().__init__(
            _("{url} answered {status}: it does not take this request.").format(
                url=origin(url), status=status
            ),
            remedy=_("Compare `url` and `headers` in feilun.toml with the host's documentation."),
        )


class AnswerTooLarge(Invalid):
    """An answer, as sent or as unpacked, is larger than allowed; reading stopped there."""

    def __init__(self, url: str, limit: int) -> None:
        super().__init__(
            _("{url} answers with more than {limit:,} bytes.").format(url=origin(url), limit=limit),
            remedy=_("Ask for less at once, or raise `most_bytes` where the URL is set."),
        )


class AnswerBroken(Invalid):
    """An answer is no proper HTTP, or is packed in a way that was not asked for."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            _("{url} answers with something broken: {reason}").format(
                url=origin(url), reason=reason
            ),
            remedy=_("Try again; if it stays so, tell whoever runs that host."),
        )


def origin(url: str) -> str:
    """What of `url` may be shown: scheme, host and port."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "…"
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return shortened(f"{scheme}{host}") or "…"


def _without_secrets(target: str) -> str:
    """A redirect's target without name, query and the long random pieces that are keys."""
    try:
        path = urlsplit(target).path
    except ValueError:
        return "…"
    shown = origin(target)
    return ("" if shown == "…" else shown) + _LONG_SEGMENT.sub("…", path)
