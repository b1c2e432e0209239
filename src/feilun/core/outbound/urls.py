"""What of a URL is called, judged by its text alone."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

import httpx

from feilun.core.errors import shortened
from feilun.core.i18n import _
from feilun.core.outbound.errors import UrlRefused

PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)")
_ALLOWED = re.compile(r"(?:\[[0-9a-f:.]+\]|[^\[\]:/@\s]+):[0-9]{1,5}")


class Target(NamedTuple):
    """A checked URL, in the parts that are sent: nothing reads it a second time."""

    url: str
    scheme: str
    host: str
    port: int
    path: bytes

    @property
    def named(self) -> str:
        """The host as it stands in a URL: IPv6 in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def place(self) -> str:
        """`host:port`, as an allow list names it."""
        return f"{self.named}:{self.port}"


def parsed(url: str, allow: frozenset[str] = frozenset()) -> Target:
    """The parts of `url`; raises `UrlRefused` for anything but plain `https://` on port 443,
    `http://` on port 80, or a `host:port` in `allow`."""
    authority = re.split(r"[/?#]", url.partition("//")[2], maxsplit=1)[0]
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise UrlRefused(url, _("it is no URL.")) from None
    if read.scheme not in PORTS:
        raise UrlRefused(url, _("only https:// and http:// are."))
    if "@" in authority or read.userinfo:
        raise UrlRefused(
            url,
            _("it has a name or a password in it."),
            _('Take it out, and set token = "env:NAME" instead.'),
        )
    host = read.raw_host.decode("ascii").lower().removesuffix(".")
    if not _is_host(host):
        raise UrlRefused(url, _("it has no proper host."))
    port = PORTS[read.scheme] if read.port is None else read.port
    target = Target(url, read.scheme, host, port, read.raw_path)
    if port != PORTS[read.scheme] and target.place not in allow:
        raise UrlRefused(
            url,
            _("port {port} is neither 443 (https) nor 80 (http).").format(port=port),
            _('If it is meant, name it beside the URL in feilun.toml: allow = ["{host}"]').format(
                host=shortened(target.place)
            ),
        )
    return target


def allowed(entries: Iterable[str]) -> frozenset[str]:
    """The allow list that settings name: `127.0.0.1:8080`, `models.local:443`, `[::1]:80`; raises
    `ValueError` for an entry that is not exactly that."""
    found = [entry.strip().lower() for entry in entries]
    for entry in found:
        if not _ALLOWED.fullmatch(entry):
            raise ValueError(
                _("'{entry}' is not HOST:PORT, such as 127.0.0.1:8080").format(
                    entry=shortened(entry)
                )
            )
    return frozenset(found)


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            # A zone (`%eth0`) belongs to a machine of the neighbourhood.
            return ipaddress.IPv6Address(host).scope_id is None
        except ValueError:
            return False
    if len(host) > 253 or not _NAME.fullmatch(host):
        return False
    if not _NUMERIC_END.fullmatch(host):
        return True
    try:
        # 127.1, 0x7f.1 and 2130706433 are spellings of 127.0.0.1 that hide what they are.
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
