"""Which addresses belong to the public internet, and where a name leads."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable

Resolver = Callable[[str, int], list[str]]
"""Gives the addresses of a host name, as text; raises `OSError`."""

# Written out, because `is_global` differs between versions of Python (CVE-2024-4032), and the
# registry of special addresses says nothing of clouds: 168.63.129.16 is Azure's platform.
_CLOSED_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32",
        "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
    )
)  # fmt: skip
_GLOBAL_6 = ipaddress.IPv6Network("2000::/3")
_CLOSED_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo (2001::/32) among it: the address of a tunnel hides another
        "2001:db8::/32",
        "2002::/16",  # 6to4, a tunnel too
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = {0x00005EFE, 0x02005EFE}


def is_public(text: str) -> bool:
    """Whether `text` is the address of a machine on the public internet.

    IPv4 in IPv6 (`::ffff:127.0.0.1`) and NAT64 are judged by the address within; 6to4, Teredo and
    ISATAP, which tunnel to another address, are refused whatever they hold. Loopback, private,
    link-local (metadata of clouds), carrier, multicast and reserved addresses are not public.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = _inner(address)
        if inner is None:
            return (
                address in _GLOBAL_6
                and address.is_global
                and not any(address in network for network in _CLOSED_6)
                and (int(address) >> 32) & 0xFFFFFFFF not in _ISATAP
            )
        address = inner
    return address.is_global and not any(address in network for network in _CLOSED_4)


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped


def system_addresses(host: str, port: int) -> list[str]:
    """What this machine's resolver says, each address once, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def resolve(resolver: Resolver, host: str, port: int, seconds: float) -> list[str]:
    """What `resolver` says within `seconds`; raises `OSError` (`TimeoutError` when it is late).

    The system's resolver knows no time limit of ours, so it is asked in a thread of its own.
    """
    answers: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolver(host, port))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, UnicodeError):
        raise OSError(str(found)) from found
    if isinstance(found, Exception):
        raise found
    return found
