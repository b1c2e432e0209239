"""The protocol over real sockets: what may come, what is answered, when it hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from feilun.service import protocol as module
from feilun.service.exchange import BadAnswer, head_of
from feilun.service.handover import settled
from feilun.service.protocol import MAX_HEAD_BYTES, PatientProtocol

GET = b"GET /a%20b?c=d HTTP/1.1\r\nHost: x\r\n\r\n"
App = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with the path and the body, in pieces when asked for `/pieces`."""
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    else:
        body = b"(gone)"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/pieces":
        for piece in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        return
    await send({"type": "http.response.body", "body": scope["path"].encode() + b"|" + body})


class Talk:
    """A client's end of a connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Talk:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_given: object) -> None:
        self.writer.close()

    async def say(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.01)

    async def hear(self) -> tuple[bytes, bytes]:
        """The next answer's head, in lower case, and body."""
        async with asyncio.timeout(20):
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            if b"transfer-encoding: chunked" in head:
                body = await self.reader.readuntil(b"0\r\n\r\n")
            else:
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                body = await self.reader.readexactly(int(length or b"0"))
        return head, body

    async def ended(self) -> bool:
        """Whether the server hangs up without another word."""
        async with asyncio.timeout(20):
            return await self.reader.read() == b""


def run(talk: Callable[[Talk], Awaitable[None]], app: App = echo) -> ServerState:
    """Has a client talk to a server; the state that it leaves."""
    state = ServerState()
    state.default_headers = [(b"date", b"now")]

    async def main() -> None:
        config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_keep_alive=1)
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: PatientProtocol(config, state, {"is": "there"}), "127.0.0.1", 0
        )
        async with Talk(server.sockets[0].getsockname()[1]) as client:
            await talk(client)
        server.close()
        async with asyncio.timeout(20):
            while state.connections or state.tasks:
                await asyncio.sleep(0.01)

    asyncio.run(main())
    return state


def test_requests_in_pieces_and_one_behind_the_other() -> None:
    async def talk(client: Talk) -> None:
        await client.say(GET[:9], GET[9:21], GET[21:])
        head, body = await client.hear()
        assert head.startswith(b"http/1.1 200 ok\r\ndate: now\r\n")
        assert body == b"/a b|"
        post = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"
        await client.say(post + b"ab", b"cd" + GET + post + b"efgh")
        assert [(await client.hear())[1] for _n in range(3)] == [b"/p|abcd", b"/a b|", b"/p|efgh"]

    assert run(talk).total_requests == 4


def test_a_body_larger_than_the_buffer_and_one_in_chunks() -> None:
    async def talk(client: Talk) -> None:
        large = b"x" * 1_000_000
        await client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", large)
        assert (await client.hear())[1] == b"/|" + large
        chunks = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
        await client.say(chunks, b"2;x=y\r\nde\r\n0\r\nHost: evil\r\n\r\n")
        assert (await client.hear())[1] == b"/|abcde"

    run(talk)


def test_answers_in_pieces_end_where_they_end() -> None:
    async def talk(client: Talk) -> None:
        await client.say(b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.hear())[1] == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        await client.say(b"GET /pieces HTTP/1.0\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(20):
            rest = await client.reader.read()
        assert rest.endswith(b"\r\n\r\nonetwo")
        assert b"connection: close" in rest

    run(talk)


def test_continue_is_said_before_the_body_is_read() -> None:
    async def talk(client: Talk) -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        await client.say(head)
        async with asyncio.timeout(20):
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.say(b"ok")
        assert (await client.hear())[1] == b"/|ok"

    run(talk)


def test_other_protocols_are_not_spoken_and_do_no_harm() -> None:
    async def talk(client: Talk) -> None:
        offer = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        await client.say(b"GET /up HTTP/1.1\r\nHost: x\r\n" + offer + b"\r\n" + GET)
        assert [(await client.hear())[1] for _n in range(2)] == [b"/up|", b"/a b|"]
        h2c = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi"
        await client.say(b"POST /up HTTP/1.1\r\nHost: x\r\n" + h2c)
        assert (await client.hear())[1] == b"/up|hi"

    run(talk)


REFUSED = {
    "garbage": b"GARBAGE\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
    b"\r\n0\r\n\r\n",
    "long path": b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MAX_HEAD_BYTES,
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "path beyond ASCII": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_http_is_refused_in_our_shape_and_ends(name: str) -> None:
    async def talk(client: Talk) -> None:
        await client.say(REFUSED[name])
        head, body = await client.hear()
        assert head.startswith(b"http/1.1 400 ")
        assert b'"code":"malformed"' in body
        assert await client.ended()

    assert run(talk).total_requests == 0


def test_garbage_behind_a_request_does_not_cost_its_answer() -> None:
    async def talk(client: Talk) -> None:
        await client.say(GET + b"GARBAGE\r\n\r\n" + GET)
        head, body = await client.hear()
        assert (body, b"connection: close" in head) == (b"/a b|", True)
        assert await client.ended()

    assert run(talk).total_requests == 1


def test_a_broken_body_is_a_disconnect_for_the_app() -> None:
    async def talk(client: Talk) -> None:
        await client.say(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert (await client.hear())[1] == b"/|(gone)"
        assert await client.ended()

    run(talk)


async def mute(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"early"})


def test_an_unread_body_is_not_taken_for_a_request() -> None:
    async def talk(client: Talk) -> None:
        await client.say(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        head, body = await client.hear()
        assert (body, b"connection: close" in head) == (b"early", True)
        assert await client.ended()

    run(talk, mute)


def test_head_has_no_body() -> None:
    async def talk(client: Talk) -> None:
        await client.say(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
        async with asyncio.timeout(20):
            assert b"early" not in await client.reader.readuntil(b"\r\n\r\n")
        assert (await client.hear())[1] == b"early"

    run(talk, mute)


def failing(how: str) -> App:
    async def app(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
        if how == "late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        if how != "silent":
            raise ZeroDivisionError("secret")

    return app


@pytest.mark.parametrize("how", ["late", "silent"])
def test_an_app_that_fails_ends_the_connection(how: str, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(client: Talk) -> None:
        await client.say(GET)
        async with asyncio.timeout(20):
            said = await client.reader.read()
        assert b"secret" not in said
        assert said.endswith(b"4\r\nhalf\r\n") if how == "late" else said == b""

    run(talk, failing(how))
    assert "secret" not in caplog.text


def test_an_app_that_fails_before_its_answer_is_answered_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(client: Talk) -> None:
        await client.say(GET)
        head, body = await client.hear()
        assert head.startswith(b"http/1.1 500 ")
        assert b"internal_error" in body

    run(talk, failing("early"))
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(module, "SEND_SECONDS", 0.2)
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.05)


@pytest.mark.parametrize("sent", [b"", b"GET", GET[:-2], GET + GET[:9]], ids=range(4))
def test_who_does_not_finish_a_head_is_cut(impatient: None, sent: bytes) -> None:
    async def talk(client: Talk) -> None:
        await client.say(sent)
        if sent.startswith(GET):
            await client.hear()
        assert await client.ended()

    run(talk)


def test_who_takes_no_answer_is_cut(impatient: None) -> None:
    waited: list[bool] = []

    async def flood(_scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _number in range(200):
            piece = {"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True}
            await send(piece)
        while (await receive())["type"] != "http.disconnect":
            pass
        waited.append(True)

    async def talk(client: Talk) -> None:
        await client.say(GET)
        while not waited:
            await asyncio.sleep(0.01)

    run(talk, flood)
    assert waited == [True]


def test_who_asks_and_takes_no_answers_does_not_fill_the_memory() -> None:
    """Requests behind an answer that is not taken wait; once it is, all are answered in order."""
    asked, size = 0, 1_000_000

    async def large(_scope: dict[str, Any], _receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(asked).encode() * size})

    async def talk(client: Talk) -> None:
        await client.say(GET * 9 * 9)
        before = -1
        while asked != before:
            before = asked
            await asyncio.sleep(0.3)
        # What the kernel takes, and what is read ahead here, is a few megabytes.
        assert 0 < asked < 9 * 9 / 2
        for number in range(1, 9 * 9 + 1):
            assert (await client.hear())[1][-3:] == (str(number).encode() * 3)[-3:]

    run(talk, large)


def test_shutdown_answers_what_was_asked_then_hangs_up() -> None:
    state: list[PatientProtocol] = []

    async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
        state[0].shutdown()
        await echo(scope, receive, send)

    async def talk(client: Talk) -> None:
        await client.say(GET)
        head, body = await client.hear()
        assert (body, b"connection: close" in head) == (b"/a b|", True)
        assert await client.ended()

    original = PatientProtocol.connection_made

    def made(self: PatientProtocol, transport: Any) -> None:
        state.append(self)
        original(self, transport)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PatientProtocol, "connection_made", made)
        run(talk, slow)


@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: x", b"a\nb", b"a\rb", b"\0"])
def test_no_header_makes_two(value: bytes) -> None:
    with pytest.raises(BadAnswer):
        head_of(200, [(b"x", value)])
    assert head_of(204, [(b"x", b"y")]) == b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n"


def test_results_of_a_thread_come_in_one_go_with_their_errors() -> None:
    async def main() -> None:
        futures: list[Future[int]] = [Future() for _n in range(4)]
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(settled(future)) for future in futures]
        late: asyncio.Task[int] = asyncio.create_task(settled(Future(), 0.01))
        given_up = tasks.pop()
        await asyncio.sleep(0)
        given_up.cancel()

        def answer() -> None:
            for number, future in enumerate(futures[:2]):
                future.set_result(number)
            futures[2].set_exception(KeyError("x"))
            futures[3].set_result(3)

        await loop.run_in_executor(None, answer)
        found = await asyncio.gather(*tasks, late, given_up, return_exceptions=True)
        assert found[:2] == [0, 1]
        kinds = [KeyError, TimeoutError, asyncio.CancelledError]
        assert [type(one) for one in found[2:]] == kinds
        assert futures[3].result() == 3

    asyncio.run(main())
