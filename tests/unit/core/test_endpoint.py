"""The chat client: what it sends, what it takes for an answer, what it never tells."""

from __future__ import annotations

import gzip
import socket
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from feilun.core import endpoint
from feilun.core.endpoint import (
    CONCURRENT,
    LONGEST_WAIT,
    MOST_BYTES,
    RETRIES,
    TOLERATED,
    Answer,
    Ask,
    Endpoint,
    EndpointBusy,
    EndpointInvalid,
    EndpointLacks,
    EndpointRefused,
    EndpointUnusable,
)
from feilun.core.errors import FeilunError
from feilun.core.secret import Secret, SecretMissing
from tests.unit.core.chat_server import Chat, Reply, chat_server, said

PRIVATE = "这句话不许出现在任何报错里"
ASK = Ask("Rewrite.", PRIVATE)


def of(chat: Chat, **more: object) -> tuple[Endpoint, list[float]]:
    pauses: list[float] = []
    return Endpoint(chat.url, "tiny", sleep=pauses.append, **more), pauses  # type: ignore[arg-type]


def test_answers_come_in_the_order_of_the_questions_a_few_at_a_time() -> None:
    def answer(body: dict[str, object], number: int) -> Reply:
        text = body["messages"][1]["content"]  # type: ignore[index]
        return said(f"<{text}>")._replace(pause=0.05 if number % 3 else 0.15)

    with chat_server(answer) as chat:
        found = of(chat)[0].answers([Ask("s", str(n)) for n in range(20)], seed=3, longest=50)
    assert [a.text for a in found] == [f"<{n}>" for n in range(20)]
    assert sum(a.tokens for a in found) == 20 * 7
    assert 1 < chat.most_at_once[0] <= CONCURRENT
    _headers, body = chat.requests[0]
    assert body["path"] == "/v1/chat/completions"
    assert (body["model"], body["seed"], body["max_tokens"], body["stream"]) == (
        "tiny",
        3,
        50,
        False,
    )
    assert [m["role"] for m in body["messages"]] == ["system", "user"]


@pytest.mark.parametrize(
    ("after", "paused"),
    [(None, 1.0), ("3", 3.0), ("100000", LONGEST_WAIT), ("soon", 1.0)],
)
def test_a_busy_server_is_asked_again_when_it_says(after: str | None, paused: float) -> None:
    headers = {"Retry-After": after} if after else {}

    def answer(body: object, number: int) -> Reply:
        return Reply(429, b"later", headers) if number == 1 else said("ja")

    with chat_server(answer) as chat:
        asker, pauses = of(chat)
        assert asker.answers([ASK]) == [Answer("ja", 7)]
    assert pauses == [paused]


def test_retry_after_may_be_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    with chat_server(
        lambda _body, n: Reply(503, b"", {"Retry-After": moment}) if n == 1 else said("ja")
    ) as chat:
        asker, pauses = of(chat)
        asker.answers([ASK])
    assert 20 < pauses[0] <= 30


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_stays_busy_is_given_up_with_growing_pauses(status: int) -> None:
    with chat_server(lambda _body, _n: Reply(status, PRIVATE.encode())) as chat:
        asker, pauses = of(chat)
        with pytest.raises(EndpointBusy) as caught:
            asker.answers([ASK])
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert len(chat.requests) == RETRIES + 1
    assert str(status) in caught.value.message


def test_no_server_and_a_silent_one_are_told_apart_from_answers() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        gone = Endpoint(
            f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "tiny", sleep=lambda _s: None
        )
        with pytest.raises(EndpointBusy, match="ConnectError"):
            gone.answers([ASK])
    with chat_server(lambda _body, _n: said("late")._replace(pause=5)) as chat:
        asker, _pauses = of(chat, timeout=0.1)
        with pytest.raises(EndpointBusy, match="slow"):
            asker.answers([ASK])


def test_a_server_that_drips_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 50))
    monkeypatch.setattr(endpoint.time, "monotonic", lambda: float(next(clock)))
    asker = Endpoint("http://127.0.0.1:9/v1", "tiny", timeout=40, sleep=lambda _s: None)

    class Dripping:
        status_code, headers = 200, {}

        def iter_raw(self) -> object:
            while True:
                yield b"x"

        def __enter__(self) -> Dripping:
            return self

        def __exit__(self, *_more: object) -> None:
            return None

    class Http:
        def stream(self, *_asked: object, **_more: object) -> Dripping:
            return Dripping()

    with pytest.raises(EndpointBusy, match="slow"):
        asker._answer(Http(), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "wanted"), [(401, EndpointRefused), (403, EndpointRefused), (404, EndpointLacks)]
)
def test_what_no_retry_can_mend_is_said_at_once(
    status: int, wanted: type[FeilunError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_TOKEN", "sk-very-secret-größe")
    with chat_server(lambda _body, _n: Reply(status, PRIVATE.encode())) as chat:
        asker, pauses = of(chat, token=Secret("env:CHAT_TOKEN"))
        with pytest.raises(wanted) as caught:
            asker.answers([ASK] * 30)
    assert pauses == []
    assert len(chat.requests) <= 2 * CONCURRENT
    told = "".join(traceback.format_exception(caught.value)) + str(caught.value.remedy)
    assert "secret" not in told
    assert PRIVATE not in told
    assert "sk-very-secret" in chat.requests[0][0]["Authorization"]


def test_a_missing_token_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHAT_TOKEN", raising=False)
    with pytest.raises(SecretMissing, match="CHAT_TOKEN"):
        Endpoint("http://127.0.0.1:1/v1", "tiny", token=Secret("env:CHAT_TOKEN"))


GARBAGE = [
    b"",
    b"not json",
    b"[]",
    b"{}",
    b'{"choices": []}',
    b'{"choices": [{"message": {"content": null}}]}',
    b'{"choices": [{"message": {"content": 7}}]}',
    b'{"choices": {"0": 1}}',
    b"[" * 100_000,
    b"\xff\xfe",
    b"x" * (MOST_BYTES + 1),
]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_no_answer_and_only_garbage_ends_it(content: bytes) -> None:
    with chat_server(lambda _body, _n: Reply(content=content)) as chat:
        asker, _pauses = of(chat)
        assert asker.answers([ASK]) == [Answer(None, 0)]
        with pytest.raises(EndpointUnusable):
            asker.answers([ASK] * TOLERATED)
    with chat_server(lambda _b, n: said("ja") if n == 1 else Reply(content=content)) as chat:
        asker, _pauses = of(chat)
        found = asker.answers([ASK]) + asker.answers([ASK] * (TOLERATED + 1))
    assert [a.text for a in found] == ["ja"] + [None] * (TOLERATED + 1)


def test_a_packed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * 50_000_000)
    reply = Reply(content=bomb, headers={"Content-Encoding": "gzip"})
    with chat_server(lambda _body, _n: reply) as chat:
        assert of(chat)[0].answers([ASK]) == [Answer(None, 0)]
    assert chat.requests[0][0]["Accept-Encoding"] == "identity"


def test_a_redirect_is_not_followed() -> None:
    with chat_server(lambda _body, _n: said("elsewhere")) as other:
        reply = Reply(307, headers={"Location": f"{other.url}/chat/completions"})
        with chat_server(lambda _body, _n: reply) as chat:
            assert of(chat)[0].answers([ASK]) == [Answer(None, 0)]
    assert other.requests == []


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with chat_server(lambda _body, _n: said("ja")) as chat:
        assert of(chat)[0].answers([ASK]) == [Answer("ja", 7)]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_one_refused_question_does_not_end_the_others(status: int) -> None:
    def answer(body: dict[str, object], _number: int) -> Reply:
        bad = body["messages"][1]["content"] == "bad"  # type: ignore[index]
        return Reply(status, b"no") if bad else said("ja")

    with chat_server(answer) as chat:
        found = of(chat)[0].answers([Ask("s", "good"), Ask("s", "bad"), Ask("s", "good")])
    assert [a.text for a in found] == ["ja", None, "ja"]


@pytest.mark.parametrize(
    ("reply", "wanted"),
    [
        (said(" ja \n"), Answer("ja", 7)),
        (said("<think>hm\nhm</think>\n ja"), Answer("ja", 7)),
        (said("<think>hm"), Answer(None, 7)),
        (said("hm</think>ja"), Answer("ja", 7)),
        (said("half an ans", finish_reason="length"), Answer(None, 7)),
        (said("", finish_reason="content_filter"), Answer(None, 7)),
        (said("ja", finish_reason="stop"), Answer("ja", 7)),
        (said("   "), Answer(None, 7)),
        (said("a\ud800b"), Answer("a?b", 7)),
        (Reply(content=b'{"choices":[{"message":{"content":"ja"}}]}'), Answer("ja", 0)),
        (
            Reply(content=b'{"choices":[{"message":{"content":"j"}}],"usage":{"total_tokens":-5}}'),
            Answer("j", 0),
        ),
    ],
)
def test_what_counts_as_an_answer(reply: Reply, wanted: Answer) -> None:
    with chat_server(lambda _body, _n: reply) as chat:
        assert of(chat)[0].answers([ASK]) == [wanted]


def test_an_answer_is_paid_for_once(tmp_path: Path) -> None:
    with chat_server(lambda _body, n: said(f"nr {n}")) as chat:
        for paid in (7, 0):
            found = of(chat, cache=tmp_path)[0].answers([ASK])
            assert found == [Answer("nr 1", paid)]
        other = of(chat, cache=tmp_path)[0].answers([ASK], seed=1)
        assert other == [Answer("nr 2", 7)]
        # A torn file is asked for again.
        for path in tmp_path.rglob("*.json"):
            path.write_text(path.read_text()[:-3])
        assert of(chat, cache=tmp_path)[0].answers([ASK])[0].tokens == 7
    assert len(chat.requests) == 3
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".json"]


def test_what_was_answered_before_a_failure_is_not_asked_again(tmp_path: Path) -> None:
    broken = [True]

    def answer(body: object, number: int) -> Reply:
        return said("ja") if number <= 6 or not broken[0] else Reply(500)

    asks = [Ask("s", str(n)) for n in range(12)]
    with chat_server(answer) as chat:
        with pytest.raises(EndpointBusy):
            of(chat, cache=tmp_path)[0].answers(asks)
        broken[0] = False
        before = len(chat.requests)
        found = of(chat, cache=tmp_path)[0].answers(asks)
        assert len(chat.requests) - before == 6
    assert [a.text for a in found] == ["ja"] * 12
    assert sum(a.tokens for a in found) == 6 * 7


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/v1",
        "127.0.0.1:80",
        "http://",
        "http://127.0.0.1:99999/v1",
        "http://user:hunter2@127.0.0.1/v1",
        "http://127.0.0.1/v1?key=hunter2",
        "http://127.0.0.1/v1#x",
        "http://[::1",
    ],
)
def test_an_address_that_is_none_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(EndpointInvalid) as caught:
        Endpoint(url, "tiny")
    assert "hunter2" not in caught.value.message
    assert caught.value.remedy
