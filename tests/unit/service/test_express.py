"""The express way answers as the ordinary one does, and leaves to it what is not plain."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from typing import Any

import pytest

from feilun.core.errors import DiskFull
from feilun.service.doorman import FULL_SECONDS
from feilun.stages.serve import Engine, Overloaded, TooLate
from feilun.store.events import Event
from tests.unit.client.live_server import Line
from tests.unit.service.fast_way import CLASSIFY, GOOD, Served, head_and_body, stuck


@pytest.mark.parametrize(
    "given", [GOOD, {"input": ["质量不错", "", "terrible lamp, broke"]}, {"input": ["x"] * 40}]
)
def test_both_ways_answer_alike(served: Served, given: Any) -> None:
    with Line(served.port) as line:
        served.taken.append(False)
        ordinary = head_and_body(served, line, given)
        assert not served.taken[-1]
        express = head_and_body(served, line, given)
        assert served.taken[-1]
    assert express == ordinary


def test_rows_usage_and_metrics_are_those_of_every_request(served: Served) -> None:
    with Line(served.port) as line:
        answers = [served.ask(line, {"input": [f"耳机 {n}", "好"]})[1] for n in range(9)]
    assert served.taken == [False] + [True] * 8
    rows = {row["id"]: row for row in served.project.events.predictions(0)}
    assert len(rows) == 18
    for answer in answers:
        for place, one in enumerate(answer["results"]):
            row = rows[one["id"]]
            assert (row["request"], row["label"]) == (answer["id"], one["label"])
            assert row["input"] == ([f"耳机 {answers.index(answer)}", "好"][place])
            assert row["kept"] == "vault"
    day = served.project.usage()[-1]
    assert (day.requests, day.predictions) == (9, 18)
    with Line(served.port) as line:
        _status, metrics = line.said("GET /metrics", **served.headers())
    assert b'feilun_requests_total{method="POST",route="/v1/classify",status="200"} 9' in metrics
    assert b'feilun_step_seconds_count{step="commit"} 9.0' in metrics


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (b'{"input": 5}', 422),
        (b'{"input": "good", "nonsense": 1}', 422),
        (b"{", 400),
        ({"input": ["x"] * 100_000}, 422),
        ({"input": "x" * 20_001}, 422),
    ],
)
def test_what_is_refused_goes_the_ordinary_way(served: Served, given: Any, status: int) -> None:
    with Line(served.port) as line:
        served.known(line)
        assert served.ask(line, given)[0] == status
        assert not served.taken[-1]
        assert served.ask(line, GOOD)[0] == 200


@pytest.mark.parametrize(
    "more",
    [
        {"Idempotency-Key": "once"},
        {"X-Request-Id": "mine"},
        {"Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        {"Cookie": "feilun_lang=zh"},
        {"Connection": "close"},
        {"Accept": "text/html"},
    ],
)
def test_heads_that_say_more_are_not_learnt(served: Served, more: dict[str, str]) -> None:
    with Line(served.port) as line:
        for _again in range(2):
            assert served.ask(line, GOOD, **more)[0] == 200
            assert not served.taken[-1]


def test_a_foreign_host_is_refused_whatever_is_known(served: Served) -> None:
    with Line(served.port) as line:
        served.known(line)
        assert served.ask(line, GOOD, Host="evil.example")[0] == 403
        assert served.ask(line, GOOD, Origin="https://evil.example")[0] == 403


def test_a_key_that_is_revoked_is_refused_within_a_second(served: Served) -> None:
    with Line(served.port) as line:
        served.known(line)
        served.project.keys.revoke(served.project.keys.all()[0].id)
        until = time.monotonic() + 20
        while served.ask(line, GOOD)[0] == 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert served.ask(line, GOOD)[0] == 401
        assert not served.taken[-1]


def test_a_keys_rate_is_kept_and_told(served: Served) -> None:
    served.project.keys.limit(served.project.keys.all()[0].id, per_minute=1, burst=3)
    with Line(served.port) as line:
        answers = [line.raw(CLASSIFY, json.dumps(GOOD).encode(), **served.headers())]
        served.taken.append(False)
        answers += [
            line.raw(CLASSIFY, json.dumps(GOOD).encode(), **served.headers()) for _n in range(3)
        ]
    assert served.taken[-1]
    assert [int(answer[9:12]) for answer in answers] == [200, 200, 200, 429]
    assert [b'"key";r=%d' % left in answers[2 - left] for left in (2, 1, 0)] == [True] * 3


def test_a_monthly_quota_goes_the_ordinary_way(served: Served) -> None:
    served.project.keys.limit(served.project.keys.all()[0].id, monthly=2)
    with Line(served.port) as line:
        assert [served.ask(line, GOOD)[0] for _n in range(3)] == [200, 200, 429]
    assert not any(served.taken)


def test_errors_speak_the_language_of_the_request(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    zh = {"Accept-Language": "zh-CN"}

    def full(*_given: object) -> None:
        raise Overloaded(7)

    limit = served.project.settings.serve.queue

    with Line(served.port) as line:
        served.known(line, **zh)
        monkeypatch.setattr(served.app.state.service.live.engine, "submit_for", full)
        answer = line.raw(CLASSIFY, json.dumps(GOOD).encode(), **served.headers(**zh))
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 1\r\n" in answer.lower()
    assert f"{limit} 个请求".encode() in answer


def test_a_full_line_refuses_before_it_reads(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Line(served.port) as line:
        served.known(line)
        with monkeypatch.context() as patch:
            patch.setattr(Engine, "full", property(lambda _self: True))
            unread = served.ask(line, b"{")
            assert served.taken[-1]
            answers = [served.ask(line, {"input": f"{n}"}) for n in range(3)]
        assert [(status, said["error"]["code"]) for status, said in [unread, *answers]] == [
            (503, "overloaded")
        ] * 4
        time.sleep(2 * FULL_SECONDS)
        assert served.ask(line, GOOD)[0] == 200
    assert not served.express._open


@pytest.mark.parametrize("error", [DiskFull, RuntimeError])
def test_what_cannot_be_stored_is_not_answered(
    served: Served, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def failing(events: list[Event]) -> Future[list[str]]:
        done: Future[list[str]] = Future()
        done.set_exception(DiskFull(served.project.folder) if error is DiskFull else error("no"))
        return done

    with Line(served.port) as line:
        served.known(line)
        with monkeypatch.context() as patch:
            patch.setattr(served.project.events, "submit", failing)
            status, said = served.ask(line, GOOD)
        assert served.taken[-1]
        assert (status, said["error"]["code"]) == (
            (507, "not_stored") if error is DiskFull else (500, "internal_error")
        )
        assert served.ask(line, GOOD)[0] in {200, 503}  # unready until there is room


def test_a_batch_that_fails_is_answered(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with Line(served.port) as line:
        served.known(line)

        def broken(*_given: object) -> None:
            raise RuntimeError("broken")

        monkeypatch.setattr(served.app.state.service.live.engine, "_answers", broken)
        status, said = served.ask(line, GOOD)
    assert (status, said["error"]["code"]) == (500, "internal_error")


def test_a_request_is_answered_at_its_time_and_not_again_later(served: Served) -> None:
    more = {"X-Request-Timeout-Seconds": "0.2"}
    with Line(served.port) as line, Line(served.port) as other:
        served.known(line, **more)
        served.known(other)
        model = stuck(served)
        late = served.ask(line, GOOD, **more)
        assert served.taken[-1]
        assert (late[0], late[1]["error"]["code"]) == (503, TooLate().code)
        model.go.set()
        assert served.ask(line, GOOD, **more)[0] == 200
        assert served.ask(other, GOOD)[0] == 200
    assert not served.express._open


def test_who_hangs_up_harms_nobody(served: Served) -> None:
    with Line(served.port) as line, Line(served.port) as other:
        served.known(line)
        served.known(other)
        model = stuck(served)
        line.send(CLASSIFY, json.dumps(GOOD).encode(), **served.headers())
        assert model.came.wait(20)
        line.hang_up()
        model.go.set()
        assert served.ask(other, GOOD)[0] == 200
    # It was computed, so it is stored, as it is the ordinary way.
    assert len(served.project.events.predictions(0)) == 6


def test_requests_behind_one_another_are_answered_in_order(served: Served) -> None:
    bodies = [json.dumps({"input": [f"{n}"] * (n + 1)}).encode() for n in range(5)]
    with Line(served.port) as line:
        served.known(line)
        model = stuck(served)
        line.send(CLASSIFY, bodies[0], **served.headers())
        assert model.came.wait(20)
        for body in bodies[1:]:
            line.send(CLASSIFY, body, **served.headers())
        model.go.set()
        counts = [len(json.loads(line.hear()[1])["results"]) for _body in bodies]
    assert counts == [1, 2, 3, 4, 5]


def test_requests_in_pieces_and_lengths_that_lie_go_the_ordinary_way(served: Served) -> None:
    body = json.dumps(GOOD).encode()
    with Line(served.port) as line:
        served.known(line)
        served.taken.append(False)
        whole = line.written(CLASSIFY, body, **served.headers())
        for piece in (whole[:30], whole[30:-5], whole[-5:]):
            line.pass_on(piece)
            time.sleep(0.02)
        assert line.hear()[0] == 200
        line.pass_on(whole + whole)
        assert [line.hear()[0] for _n in range(2)] == [200, 200]
        assert not served.taken[-1]
        number = f"Content-Length: {len(body)}".encode()
        for lie in (b"Content-Length: +5", b"Content-Length: 99999999999"):
            with Line(served.port) as liar:
                liar.pass_on(whole.replace(number, lie))
                assert liar.hear()[0] in {400, 413}
        assert not served.taken[-1]


def test_heads_are_kept_in_bounded_memory(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("feilun.service.known_heads.MOST", 3)
    with Line(served.port) as line:
        for number in range(8):
            served.known(line, **{"User-Agent": f"client {number}"})
            assert len(served.express._heads) <= 3
