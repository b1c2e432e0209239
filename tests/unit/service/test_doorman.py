"""The doorman refuses what Python would refuse, in the same words, and lets everything else in."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from feilun.service import protocol
from feilun.service.doorman import FULL_SECONDS, Doorman
from feilun.service.known_heads import Head
from tests.unit.client.live_server import Line
from tests.unit.service.fast_way import CLASSIFY, GOOD, Served, Stuck, head_and_body, stuck

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python refuses")
BODY = json.dumps(GOOD).encode()
COUNTED = re.compile(
    rb'feilun_requests_total\{method="POST",route="/v1/classify",status="(\d+)"\} (\d+)'
)


@contextmanager
def full(served: Served, limit: int = 2) -> Iterator[Stuck]:
    """A line in which nobody moves, and `limit` wait."""
    lines = [Line(served.port) for _n in range(limit + 1)]
    for line in lines:
        served.known(line)
    waiting = served.app.state.service.live.engine._line
    waiting._limit = limit
    model = stuck(served)
    for line in lines:
        line.send(CLASSIFY, BODY, **served.headers())
        assert model.came.wait(20)
    until = time.monotonic() + 20
    while len(waiting) < limit:
        assert time.monotonic() < until
        time.sleep(0.001)
    try:
        yield model
    finally:
        model.go.set()
        for line in lines:
            assert line.hear()[0] == 200
            line.hang_up()


def doorman(served: Served) -> Doorman:
    found = served.express._doorman
    assert found is not None
    return found


def watched(served: Served, count: int) -> None:
    """Waits until so many connections are the doorman's."""
    until = time.monotonic() + 20
    while len(doorman(served)._watched) != count:
        assert time.monotonic() < until
        time.sleep(0.001)


def counted(served: Served) -> dict[bytes, int]:
    """The requests by status, as the metrics have them."""
    with Line(served.port) as line:
        _status, metrics = line.said("GET /metrics", **served.headers())
    return {status: int(count) for status, count in COUNTED.findall(metrics)}


def shut(served: Served, line: Line) -> None:
    """Has the line refused once, so that what comes next on it is the doorman's, and makes him
    refuse everything for a while."""
    assert served.ask(line, GOOD)[0] == 503
    watched(served, 1)
    keep_shut(served)


def keep_shut(served: Served) -> None:
    keep_shut_of(doorman(served))


def keep_shut_of(found: Doorman, seconds: float = 60.0) -> None:
    found._native.fl_door_full(found._door, int(seconds * 1e9))


def refused_by_doorman(served: Served, line: Line) -> None:
    """The next request is refused without Python; each hundredth of a second he lets one in."""
    for _try in range(100):
        status = served.ask(line, GOOD)[0]
        assert status == 503
        if not served.taken[-1]:
            return
        watched(served, 1)
    raise AssertionError("all of them were refused in Python")


def test_he_refuses_in_the_same_words(served: Served) -> None:
    zh = {"Accept-Language": "zh-CN"}
    with Line(served.port) as line:
        served.known(line, **zh)
        with full(served):
            served.taken.append(False)
            ordinary, words = head_and_body(served, line, GOOD, **zh)
            assert served.taken[-1]
            for _try in range(100):
                served.taken.append(False)
                watched(served, 1)
                head, said = head_and_body(served, line, GOOD, **zh)
                if not served.taken[-1]:
                    break
            assert not served.taken[-1]
    assert said == words
    assert "请求" in said["error"]["message"]
    assert head == ordinary - {"date:", "server: uvicorn"}
    assert "retry-after: 1" in head


def test_each_refusal_has_an_id_of_its_own_and_is_counted(served: Served) -> None:
    before = counted(served).get(b"503", 0)
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            answers = []
            for _n in range(600):
                served.taken.append(False)
                answers.append(line.raw(CLASSIFY, BODY, **served.headers()))
            assert served.taken[-600:].count(False) > 0  # the doorman's
    ids = [re.findall(rb"x-request-id: (r_[0-9a-f]{32})\r\n", answer) for answer in answers]
    assert all(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
    assert len({one for found in ids for one in found}) == 600
    until = time.monotonic() + 20
    while counted(served)[b"503"] != before + 600:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_he_is_told_how_many_more_may_wait(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(Doorman, "places", lambda _self, free: told.append(free))
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            assert served.ask(line, GOOD)[0] == 503
            watched(served, 1)
        assert told == [2]  # both that waited were taken at once


def test_as_many_are_let_in_as_there_are_places() -> None:
    """Of many who come at once; and one each hundredth of a second, to see whether it is full."""
    count, places, head = 60, 20, Head(b"POST / HTTP/1.1\r\nLength: ", b"", b"", None, None)

    async def come() -> tuple[int, int, int, float]:
        found = Doorman.opened(
            asyncio.get_running_loop(), lambda _language: (b"503 ", b"."), lambda *_told: None
        )
        assert found is not None
        keep_shut_of(found)
        those = [Outside() for _n in range(count)]
        for one in those:
            assert found.leave(one, head, "key")
        await asyncio.sleep(0.05)
        found.places(places)
        began = time.monotonic()
        for one in those:
            one.client.sendall(WHOLE)
        refused = 0
        while sum(one.let_in for one in those) + refused < count:
            assert time.monotonic() < began + 20
            await asyncio.sleep(0.001)
            refused += sum(one.refused() for one in those)
        seconds = time.monotonic() - began
        let_in = [one for one in those if one.let_in]
        unread = sum(one.unread() for one in let_in)
        found.close()
        for one in those:
            one.close()
        return len(let_in), refused, unread, seconds

    let_in, refused, unread, seconds = asyncio.run(come())
    assert places <= let_in <= places + seconds / 0.01 + 1
    assert refused == count - let_in
    assert refused > 0
    assert unread == let_in


def test_he_lets_everybody_in_when_nobody_says_that_it_is_full(served: Served) -> None:
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            assert served.ask(line, GOOD)[0] == 503
            watched(served, 1)
        time.sleep(2 * FULL_SECONDS)
        assert served.ask(line, GOOD)[0] == 200
        assert served.taken[-1]


def pieces(line: Line, whole: bytes) -> list[int]:
    for piece in (whole[:30], whole[30:-5], whole[-5:]):
        line.pass_on(piece)
        time.sleep(0.02)
    return [line.hear()[0]]


def pair(line: Line, whole: bytes) -> list[int]:
    line.pass_on(whole + whole)
    return [line.hear()[0] for _n in range(2)]


def large(line: Line, whole: bytes) -> list[int]:
    length = f"Content-Length: {len(BODY)}".encode()
    line.pass_on(whole.replace(length, b"Content-Length: 100000") + b" " * (100_000 - len(BODY)))
    return [line.hear()[0]]


def lying(line: Line, whole: bytes) -> list[int]:
    length = f"Content-Length: {len(BODY)}".encode()
    line.pass_on(whole.replace(length, b"Content-Length: 99999999999"))
    return [line.hear()[0]]


def unkeyed(line: Line, whole: bytes) -> list[int]:
    line.pass_on(whole.replace(b"Bearer fw_", b"Bearer fw0"))
    return [line.hear()[0]]


def elsewhere(line: Line, whole: bytes) -> list[int]:
    assert whole
    return [line.ask("GET /ping", Host="127.0.0.1")]


def nonsense(line: Line, whole: bytes) -> list[int]:
    assert whole
    line.pass_on(b"\x16\x03\x01nonsense\r\n\r\n")
    return [line.hear()[0]]


@pytest.mark.parametrize(
    ("what", "statuses"),
    [
        (pieces, [503]), (pair, [503, 503]), (large, [503]), (lying, [413]), (unkeyed, [401]),
        (nonsense, [400]), (elsewhere, [200]),
    ],
)  # fmt: skip
def test_whatever_else_comes_is_left_to_python(
    served: Served, what: Callable[[Line, bytes], list[int]], statuses: list[int]
) -> None:
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            shut(served, line)
            refused_by_doorman(served, line)
            keep_shut(served)
            assert what(line, line.written(CLASSIFY, BODY, **served.headers())) == statuses


def test_who_hangs_up_is_forgotten(served: Served) -> None:
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            shut(served, line)
            line.hang_up()
            watched(served, 0)
            assert served.ask(line, GOOD)[0] == 503


def test_who_says_nothing_any_more_is_not_kept_for_ever(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_LOOK_SECONDS", 0.05)
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            shut(served, line)
            (connection,) = doorman(served)._watched.values()
            connection._keep_alive_seconds = 0.2  # type: ignore[attr-defined]
            connection._deadline = 0.0  # type: ignore[attr-defined]
            watched(served, 0)
            assert line._socket is not None
            line._socket.settimeout(20)
            assert line._socket.recv(100) == b""


def test_a_key_with_a_rate_is_never_his(served: Served) -> None:
    served.project.keys.limit(served.project.keys.all()[0].id, per_minute=6000, burst=100)
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            for _n in range(5):
                assert served.ask(line, GOOD)[0] == 503
                assert served.taken[-1]
            assert not doorman(served)._watched


def test_when_he_knows_too_many_heads_another_takes_his_place(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            with monkeypatch.context() as patch:
                patch.setattr(Doorman, "leave", lambda *_given: False)
                assert served.ask(line, GOOD)[0] == 503
                until = time.monotonic() + 20
                while served.express._doorman is not None:
                    assert time.monotonic() < until
            shut(served, line)
            refused_by_doorman(served, line)


def test_he_knows_so_many_heads_and_no_more() -> None:
    async def many() -> list[bool]:
        found = Doorman.opened(asyncio.get_running_loop(), lambda _language: (b"", b""), _told)
        assert found is not None
        heads = [Head(b"%d" % n, b"", b"", None, None) for n in range(1025)]
        left = [found.leave(Gone(), head, "key") for head in heads]
        found.close()
        return left

    assert asyncio.run(many()) == [True] * 1024 + [False]


def test_no_thread_of_his_is_left_behind(served: Served) -> None:
    with Line(served.port) as line:
        served.known(line)
        with full(served):
            shut(served, line)
            thread = doorman(served)._thread
            assert thread.is_alive()
            served.express._loop.call_soon_threadsafe(served.express.close)  # type: ignore[union-attr]
            thread.join(20)
            assert not thread.is_alive()
            # What was his is read by Python again.
            assert served.ask(line, GOOD)[0] == 503


def test_in_a_flood_each_request_has_one_answer_and_is_counted_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests whole and in pieces, from many at once, while the line is now full, now not."""
    before = counted(served)
    engine = served.app.state.service.live.engine
    engine._line._limit = 2
    digest, predictor = engine._loaded

    class Slow:
        labels = predictor.labels

        def scores(self, texts: Any) -> Any:
            time.sleep(0.003)
            return predictor.scores(texts)

    engine._loaded = digest, Slow()
    by_doorman: list[int] = []
    tell = served.express._refused

    def refused(key: str, count: int, seconds: float) -> None:
        by_doorman.append(count)
        tell(key, count, seconds)

    monkeypatch.setattr(served.express, "_refused", refused)
    statuses: Counter[int] = Counter()
    ids: list[set[str]] = []

    def client(number: int) -> None:
        choice, mine, seen = random.Random(number), Counter(), set()
        with Line(served.port) as line:
            for _request in range(150):
                body = json.dumps({"input": "好" * choice.randrange(1, 400)}).encode()
                whole = line.written(CLASSIFY, body, **served.headers())
                cut = choice.randrange(1, len(whole))
                if choice.random() < 0.2:
                    line.pass_on(whole[:cut])
                    time.sleep(0.001)
                    whole = whole[cut:]
                line.pass_on(whole)
                status, content = line.hear()
                mine[status] += 1
                seen.add(json.loads(content).get("id", f"{number}:{len(seen)}"))
        statuses.update(mine)
        ids.append(seen)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert set(statuses) == {200, 503}
    assert min(statuses.values()) > 100
    assert statuses.total() == 24 * 150 == len(set().union(*ids))
    until = time.monotonic() + 20
    while True:
        found = counted(served)
        if all(found[b"%d" % s] - before.get(b"%d" % s, 0) == n for s, n in statuses.items()):
            break
        assert time.monotonic() < until, (found, before, statuses)
        time.sleep(0.05)
    assert len(served.project.events.predictions(0)) == statuses[200]
    assert 0 < sum(by_doorman) <= statuses[503]


WHOLE = b"POST / HTTP/1.1\r\nLength: 2\r\n\r\nab"


class Outside:
    """A connection of its own, whose client is here; `let_in`: handed back."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client = socket.create_connection(listener.getsockname())
            self._socket, _address = listener.accept()
        self.client.setblocking(False)
        self.let_in = False

    @property
    def descriptor(self) -> int:
        return self._socket.fileno()

    def step_out(self) -> bool:
        return True

    def step_in(self) -> None:
        self.let_in = True

    def refused(self) -> bool:
        """Whether a refusal has come since the last time."""
        try:
            return bool(re.fullmatch(rb"503 r_[0-9a-f]{32}\.", self.client.recv(1000)))
        except BlockingIOError:
            return False

    def unread(self) -> bool:
        """Whether all that was sent is still there."""
        return self._socket.recv(1000) == WHOLE

    def close(self) -> None:
        self._socket.close()
        self.client.close()


class Gone:
    """A connection that cannot be left to anybody."""

    descriptor = -1

    def step_out(self) -> bool:
        return False

    def step_in(self) -> None:
        raise AssertionError


def _told(_key: str, _count: int, _seconds: float) -> None:
    raise AssertionError
