"""SSRF: whatever stands in the URL, the name server or the answer, nothing inside is reached."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core.errors import FeilunError
from feilun.core.outbound import Outbound, allowed, errors, parsed, urls
from feilun.core.outbound.addresses import is_public, resolve
from feilun.core.outbound.body import NotUnpackable, TooLarge, unpacked
from feilun.core.outbound.streams import Streams
from tests.evidence import Evidence
from tests.unit.local_host import CERTIFICATE, LocalHost, local_host

PUBLIC = "93.184.215.14"
SECRET = "sk-inner-4f9a8b7c"


@pytest.fixture
def inside() -> Iterator[LocalHost]:
    """A service that only this machine should reach."""
    with local_host() as host:
        host.answer("/", SECRET)
        yield host


def client(host: LocalHost, **more: Any) -> Outbound:
    return Outbound(allow=frozenset({host.place}), **more)


# Where a URL leads


INNER = [
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1",
    "017700000001", "127.0.0.1.", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost.",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::1]",
    "[fe80::1]", "[fe80::1%25lo]", "[fd00:ec2::254]", "[ff02::1]", "169.254.169.254",
    "[::ffff:169.254.169.254]", "100.100.100.200", "168.63.129.16", "10.0.0.1", "172.16.0.1",
    "192.168.1.1", "100.64.0.1", "198.18.0.1", "192.0.0.192", "224.0.0.1", "255.255.255.255",
    "240.0.0.1", "１２７.0.0.1", "ⓛocalhost", "127。0。0。1", "%31%32%37.0.0.1",
]  # fmt: skip


@pytest.fixture
def on_port_80(inside: LocalHost, monkeypatch: pytest.MonkeyPatch) -> LocalHost:
    """The inner service as if it stood on port 80, so that its port does not protect it."""
    monkeypatch.setitem(urls.PORTS, "http", inside.port)
    return inside


async def streamed(url: str) -> None:
    """One request of the kind that the gateway sends."""
    streams = Streams(url, Outbound(), connections=1)
    try:
        async with streams.post(b"{}", {}):
            pass
    finally:
        await streams.close()


def test_no_spelling_of_an_inner_host_is_called(on_port_80: LocalHost, evidence: Evidence) -> None:
    tried = 0
    for host in INNER:
        for url in (f"http://{host}/", f"http://{host}:{on_port_80.port}/"):
            for call in (Outbound().get, Outbound().post, lambda url: asyncio.run(streamed(url))):
                given = (url, b"{}") if call.__name__ == "post" else (url,)
                with pytest.raises((errors.UrlRefused, errors.HostRefused)) as caught:
                    call(*given)
                assert SECRET not in str(caught.value)
                assert caught.value.remedy
                tried += 1
    assert not on_port_80.asked
    evidence(
        19,
        f"{len(INNER)} of {len(INNER)} spellings of inner addresses refused, in {tried} calls "
        f"(GET, POST, streamed; port named or not); the inner service saw {len(on_port_80.asked)}",
    )


REACHABLE = [
    "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "0177.0.0.1",
    "017700000001", "0", "0.0.0.0", "localhost", "LOCALHOST", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
]  # fmt: skip
"""Those of `INNER` that lead to this machine's port, so that a client can be seen to reach it."""


def test_control_without_the_check_it_is_reached(
    on_port_80: LocalHost, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    assert set(REACHABLE) <= set(INNER)
    monkeypatch.setattr("feilun.core.outbound.client.is_public", lambda _address: True)
    named = ("127.0.0.1", "localhost", "localhost.", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]")
    for host in named:
        assert Outbound().get(f"http://{host}/").body == SECRET.encode()
    reached = len(on_port_80.asked)
    for host in REACHABLE:
        with socket.create_connection((host.strip("[]"), on_port_80.port), timeout=5) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert SECRET.encode() in plain.makefile("rb").read()
    evidence.control(
        19,
        f"the same client with its check taken out reached the inner service in {reached} of "
        f"{len(named)} calls, a plain socket by {len(on_port_80.asked) - reached} of "
        f"{len(REACHABLE)} spellings",
    )


ONE_INNER = [
    "127.0.0.1", "10.1.2.3", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1%lo",
    "100.64.0.1", "0.0.0.0", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:7f00:1::",
    "2001:0:7f00:1::1", "2001:4860::5efe:10.0.0.1", "::8.8.8.8", "fec0::1", "fc00::1",
    "2001:db8::1", "3fff::1", "ff0e::1", "100::1", "not an address", "",
]  # fmt: skip


def test_every_address_of_a_name_must_be_public(inside: LocalHost, evidence: Evidence) -> None:
    """The name looks harmless and its first address is: one bad address is enough."""
    refused = 0
    for address in ONE_INNER:
        asked = []

        def resolver(
            host: str, port: int, inner: str = address, seen: list[Any] = asked
        ) -> list[str]:
            seen.append((host, port))
            return [PUBLIC, inner]

        with pytest.raises(errors.HostRefused, match="not on the public internet") as caught:
            Outbound(resolver=resolver).get("http://news.example/")
        assert caught.value.kind == "denied"
        assert asked == [("news.example", 80)]
        refused += 1
    assert not inside.asked
    evidence(
        19,
        f"{refused} of {len(ONE_INNER)} names with one inner address behind a public one refused",
    )


@pytest.mark.parametrize(
    "address",
    [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "2400:3200::1", "64:ff9b::8.8.8.8",
     "::ffff:8.8.8.8"],
)  # fmt: skip
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_inner_address_stays_inner_in_every_wrapping(address: ipaddress.IPv4Address) -> None:
    if address.is_private or address.is_loopback or address.is_link_local:
        assert not is_public(str(address))
    number = int(address)
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        wrapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + number)
        assert is_public(str(wrapped)) == is_public(str(address))
    for prefix, shift in (("2002::", 80), ("::", 0), ("2001:470:1:2:0:5efe::", 0)):
        wrapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + (number << shift))
        assert not is_public(str(wrapped))


def test_a_name_that_changes_its_mind_changes_nothing(
    inside: LocalHost, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    """DNS rebinding: public while it is checked, 127.0.0.1 ever after."""
    answers = [[PUBLIC]]
    dialled = []

    def resolver(_host: str, _port: int) -> list[str]:
        return answers.pop() if answers else ["127.0.0.1"]

    def no_network(address: tuple[str, int], *_more: Any, **_options: Any) -> socket.socket:
        dialled.append(address)
        raise OSError("no network in tests")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "create_connection", no_network)
        with pytest.raises(errors.Unreachable):
            Outbound(resolver=resolver).get("http://news.example/")
    assert dialled == [(PUBLIC, 80)]
    assert not answers
    # The next request looks anew, and is refused.
    with pytest.raises(errors.HostRefused):
        Outbound(resolver=resolver).get("http://news.example/")
    assert not inside.asked
    evidence(
        19,
        f"a name that is public when it is looked up and 127.0.0.1 ever after: connected to "
        f"{len(dialled)} address, the one that was checked; refused at the next request",
    )


def test_control_checking_first_and_connecting_by_name_is_rebound(
    inside: LocalHost, monkeypatch: pytest.MonkeyPatch, evidence: Evidence
) -> None:
    answers = [PUBLIC]

    def rebinding(_host: Any, port: Any, *_more: Any, **_options: Any) -> list[Any]:
        address = answers.pop() if answers else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert is_public(str(socket.getaddrinfo("news.example", 80)[0][4][0]))
    with httpx.Client(trust_env=False) as plain:
        assert plain.get(f"http://news.example:{inside.port}/").text == SECRET
    evidence.control(
        19,
        f"a client that checks the name and then connects by it was turned inwards "
        f"{len(inside.asked)} time of 1",
    )


def test_the_connection_goes_to_the_address_that_was_checked(inside: LocalHost) -> None:
    """The name exists nowhere: only the pinned address can have been called."""
    place = f"news.example:{inside.port}"
    outbound = Outbound(allow=frozenset({place}), resolver=lambda _h, _p: ["127.0.0.1"])
    assert outbound.get(f"http://{place}/").body == SECRET.encode()
    assert inside.asked[0].headers["host"] == place


def test_a_dead_address_is_passed_over(inside: LocalHost) -> None:
    place = f"news.example:{inside.port}"
    outbound = Outbound(
        allow=frozenset({place}), resolver=lambda _h, _p: ["127.0.0.2", "::1", "127.0.0.1"]
    )
    assert outbound.get(f"http://{place}/").status == 200


# What stands in a URL


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "gopher://127.0.0.1:70/", "ftp://news.example/", "dict://x:11211/",
        "//news.example/", "news.example", "", "http://", "http:///etc", "data:text/plain,x",
        "http://somebody@news.example/", "http://somebody:sesame@news.example/", "http://@news.example/",
        "http://news.example@127.0.0.1/", "http://news.example\\@127.0.0.1/",
        "http://127.0.0.1#@news.example/", "http://news.example:22/", "http://news.example:443/",
        "https://news.example:80/", "http://news.example:0/", "http://news.example:99999/",
        "http://news.example:x/", "http://new s.example/", "http://news.example%00.com/",
        "http://news.example\n.com/", "http://[::1", "http://a..b/", "http://1.2.3/",
        "http://news.0x7f/", f"http://{'a' * 64}.example/", "http://-a.example/",
    ],
)  # fmt: skip
def test_only_plain_urls_are_called(url: str) -> None:
    def resolver(host: str, _port: int) -> list[str]:
        assert host == "127.0.0.1", "nothing else may be looked up"
        return [host]

    with pytest.raises((errors.UrlRefused, errors.HostRefused)) as caught:
        Outbound(resolver=resolver).get(url)
    assert caught.value.remedy
    assert "sesame" not in str(caught.value)
    assert "somebody" not in str(caught.value)


def test_a_chinese_url_is_called_as_browsers_do() -> None:
    target = parsed("https://例子.中国/评论?页=1#x")
    assert target.host == "xn--fsqu00a.xn--fiqs8s"
    assert target.path == b"/%E8%AF%84%E8%AE%BA?%E9%A1%B5=1"
    assert target.place == "xn--fsqu00a.xn--fiqs8s:443"


@given(st.text(max_size=60))
def test_any_text_is_a_target_or_an_error_of_ours(text: str) -> None:
    for url in (text, f"http://{text}", f"https://news.example{text}"):
        try:
            target = parsed(url)
        except errors.UrlRefused:
            continue
        assert target.port in {80, 443}
        assert target.host
        assert not set(target.host) & set("@/\\%? #")


def test_the_allow_list_is_the_one_way_in(inside: LocalHost) -> None:
    assert client(inside).get(inside.url()).body == SECRET.encode()
    with pytest.raises(errors.UrlRefused, match="port") as caught:
        Outbound().get(inside.url())
    assert f'allow = ["{inside.place}"]' in str(caught.value.remedy)
    # Exactly what is named: no other port, no other spelling, no other name of it.
    for url in (
        f"http://127.0.0.1:{inside.port + 1}/",
        f"http://127.1:{inside.port}/",
        f"http://localhost:{inside.port}/",
        f"http://[::ffff:127.0.0.1]:{inside.port}/",
        "http://127.0.0.1/",
    ):
        with pytest.raises((errors.UrlRefused, errors.HostRefused)):
            client(inside).get(url)
    assert len(inside.asked) == 1


def test_an_allow_list_names_hosts_with_their_ports() -> None:
    assert allowed([" Models.Local:443", "[::1]:80"]) == {"models.local:443", "[::1]:80"}
    for wrong in ("127.0.0.1", "http://x:80", "x:80/path", "*", "x:", "a@b:80", "::1:80"):
        with pytest.raises(ValueError, match="HOST:PORT"):
            allowed([wrong])


# What comes back


def test_redirects_are_told_and_not_followed(inside: LocalHost, evidence: Evidence) -> None:
    statuses = (301, 302, 303, 307, 308)
    with local_host() as host:
        for status in statuses:
            target = inside.url("/latest?token=" + SECRET)
            host.answer("/", "moved", status, {"Location": target})
            with pytest.raises(errors.Redirected, match=f"{inside.place}/latest") as caught:
                client(host).get(host.url())
            assert str(status) in str(caught.value)
            assert SECRET not in str(caught.value)
        assert not inside.asked
        for status in statuses:
            host.answer("/", "moved", status, {"Location": target})
            with httpx.Client(trust_env=False, follow_redirects=True) as plain:
                plain.get(host.url())
    assert [asked.path for asked in inside.asked] == ["/latest"] * len(statuses)
    evidence(19, f"{len(statuses)} of {len(statuses)} kinds of redirect inwards not followed")
    evidence.control(
        19, f"a plain client followed {len(inside.asked)} of {len(statuses)} redirects inwards"
    )


def test_long_pieces_of_a_redirect_are_not_shown(inside: LocalHost) -> None:
    key = "0123456789abcdef0123"
    inside.answer(
        "/", "", 302, {"Location": f"https://somebody:sesame@chat.example/hook/{key}?a=b"}
    )
    with pytest.raises(errors.Redirected) as caught:
        client(inside).get(inside.url())
    assert "https://chat.example/hook/…" in str(caught.value)
    assert not any(part in str(caught.value) for part in (key, "sesame", "a=b"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.RequestRefused), (401, errors.CredentialsRefused),
        (403, errors.CredentialsRefused), (404, errors.PageMissing), (410, errors.PageMissing),
        (429, errors.HostBusy), (500, errors.HostBusy), (503, errors.HostBusy),
        (304, errors.RequestRefused), (300, errors.RequestRefused),
    ],
)  # fmt: skip
def test_an_error_tells_the_status_and_never_the_body(
    inside: LocalHost, status: int, expected: type[FeilunError]
) -> None:
    inside.answer("/key/path", SECRET, status, {"Retry-After": "17"})
    url = inside.url("/key/path?key=query-secret")
    with pytest.raises(expected, match=str(status)) as caught:
        client(inside).get(url, {"Authorization": "Bearer header-secret"})
    said = f"{caught.value} {caught.value.remedy} {caught.value!r}"
    for hidden in (SECRET, "query-secret", "header-secret", "/key/path"):
        assert hidden not in said
    assert caught.value.__cause__ is None
    if status == 429:
        assert "17 s" in str(caught.value.remedy)


def test_a_bomb_stops_at_the_limit(inside: LocalHost) -> None:
    bomb = gzip.compress(b"\0" * (200 << 20))
    assert len(bomb) < 1 << 20
    inside.answer("/", bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(errors.AnswerTooLarge, match="1,048,576"):
        client(inside, most_bytes=1 << 20).get(inside.url())
    inside.answer("/", b"x" * 1001)
    with pytest.raises(errors.AnswerTooLarge):
        client(inside, most_bytes=1000).get(inside.url())
    inside.answer("/", b"x" * 1000)
    assert client(inside, most_bytes=1000).get(inside.url()).body == b"x" * 1000


def test_a_limit_is_kept_within_one_piece() -> None:
    given = []

    def chunks() -> Iterator[bytes]:
        packed = gzip.compress(b"\0" * (64 << 20))
        for start in range(0, len(packed), 100):
            given.append(start)
            yield packed[start : start + 100]

    with pytest.raises(TooLarge):
        unpacked(chunks(), "gzip", 1 << 20)
    assert len(given) < 30, "it went on reading after the limit"


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_packed_bodies_are_unpacked_however_they_are_cut(content: bytes, size: int) -> None:
    raw = zlib.compressobj(wbits=-15)
    packings = {
        "": content,
        "identity": content,
        "gzip": gzip.compress(content),
        "x-gzip": gzip.compress(content[:10]) + gzip.compress(content[10:]),
        "deflate": zlib.compress(content),
        "Deflate": raw.compress(content) + raw.flush(),
    }
    for encoding, packed in packings.items():
        cut = [packed[start : start + size] for start in range(0, len(packed), size)]
        assert unpacked(cut, encoding, len(content)) == content
        if content:
            with pytest.raises(TooLarge):
                unpacked(cut, encoding, len(content) - 1)
    with pytest.raises(NotUnpackable):
        unpacked([gzip.compress(content)[:-1]], "gzip", 1 << 20)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip", "gzip, gzip", "x" * 50])
def test_what_is_not_packed_as_asked_for_is_broken(inside: LocalHost, encoding: str) -> None:
    inside.answer("/", SECRET, headers={"Content-Encoding": encoding})
    with pytest.raises(errors.AnswerBroken) as caught:
        client(inside).get(inside.url())
    assert SECRET not in str(caught.value)


def spoken(answer: bytes, pause: float = 0.0) -> tuple[int, threading.Thread]:
    """A server for one connection that says `answer` byte by byte, with pauses."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listening, listening.accept()[0] as connection:
            connection.recv(65536)
            try:
                for byte in answer if pause else [answer]:
                    connection.sendall(byte if isinstance(byte, bytes) else bytes([byte]))
                    time.sleep(pause)
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listening.getsockname()[1], thread


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400, b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_a_slow_host_is_given_up(head: bytes) -> None:
    """Each byte comes in time; the whole does not."""
    port, thread = spoken(head + b"x" * 400, pause=0.02)
    started = time.monotonic()
    outbound = Outbound(allow=frozenset({f"127.0.0.1:{port}"}), total_seconds=0.4)
    with pytest.raises(errors.Unreachable, match="too slow"):
        outbound.get(f"http://127.0.0.1:{port}/")
    assert time.monotonic() - started < 3
    thread.join()


def test_a_silent_host_is_given_up() -> None:
    port, thread = spoken(b"H", pause=0.6)
    outbound = Outbound(allow=frozenset({f"127.0.0.1:{port}"}), read_seconds=0.1)
    with pytest.raises(errors.Unreachable, match="too slow"):
        outbound.get(f"http://127.0.0.1:{port}/")
    thread.join()


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_what_is_no_http_is_broken(answer: bytes) -> None:
    port, thread = spoken(answer)
    with pytest.raises((errors.AnswerBroken, errors.Unreachable)) as caught:
        Outbound(allow=frozenset({f"127.0.0.1:{port}"})).get(f"http://127.0.0.1:{port}/")
    assert "OpenSSH" not in str(caught.value)
    thread.join()


def test_a_name_server_that_does_not_answer_is_given_up() -> None:
    gate = threading.Event()

    def silent(_host: str, _port: int) -> list[str]:
        gate.wait(10)
        return [PUBLIC]

    with pytest.raises(errors.Unreachable, match="too long"):
        Outbound(resolver=silent, connect_seconds=0.1).get("http://news.example/")
    gate.set()

    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(errors.Unreachable, match="no such host"):
        Outbound(resolver=unknown).get("http://news.example/")
    with pytest.raises(errors.Unreachable, match="no such host"):
        Outbound(resolver=lambda _h, _p: []).get("http://news.example/")


def test_a_fault_of_the_resolver_is_not_hidden() -> None:
    def broken(_host: str, _port: int) -> list[str]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        resolve(broken, "news.example", 80, 1)


# What is sent


def test_nothing_is_taken_from_the_environment(
    inside: LocalHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_host() as proxy:
        proxy.answer("/", "proxied")
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{proxy.place}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert client(inside).get(inside.url()).body == SECRET.encode()
        assert not proxy.asked
        with httpx.Client() as plain:
            plain.get(inside.url())
        assert proxy.asked, "control: a plain client goes through the proxy"


def test_headers_and_bodies_go_out_as_given(inside: LocalHost) -> None:
    inside.answer("/hook", {"ok": True}, headers={"ETag": '"1"'})
    answer = client(inside).post(
        inside.url("/hook?a=%2F&b=中"), b'{"x":1}', {"X-Key": "k", "Host": "evil.example"}
    )
    assert answer.headers["etag"] == '"1"'
    asked = inside.asked[0]
    assert (asked.path, asked.query, asked.body) == ("/hook", {"a": "/", "b": "中"}, b'{"x":1}')
    assert asked.headers["x-key"] == "k"
    assert asked.headers["host"] == inside.place
    for wrong in ({"X": "a\r\nY: b"}, {"X": "中"}, {"X Y": "a"}):
        with pytest.raises(errors.UrlRefused, match="header"):
            client(inside).get(inside.url(), wrong)
    assert len(inside.asked) == 1


def test_what_has_not_changed_is_not_sent_again(inside: LocalHost) -> None:
    inside.answer("/", b"", 304)
    answer = client(inside).get(inside.url(), {"If-None-Match": '"1"'})
    assert (answer.status, answer.body) == (304, b"")


def test_tls_proves_the_name_though_the_address_is_pinned() -> None:
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    with local_host(tls=True) as host:
        host.answer("/", "secure")

        def outbound(name: str, tls: ssl.SSLContext | None) -> Outbound:
            return Outbound(
                allow=frozenset({f"{name}:{host.port}"}),
                resolver=lambda _h, _p: ["127.0.0.1"],
                tls=tls,
            )

        good = outbound("news.example", trusting).get(f"https://news.example:{host.port}/")
        assert good.body == b"secure"
        # The same server under another name, and one whose authority nobody knows.
        for name, tls in (("bank.example", trusting), ("news.example", None)):
            with pytest.raises(errors.Unreachable, match="certificate"):
                outbound(name, tls).get(f"https://{name}:{host.port}/")
        assert len(host.asked) == 1
    with local_host() as plain:
        place = f"news.example:{plain.port}"
        other = Outbound(allow=frozenset({place}), resolver=lambda _h, _p: ["127.0.0.1"])
        with pytest.raises(errors.Unreachable, match="TLS"):
            other.get(f"https://{place}/")
