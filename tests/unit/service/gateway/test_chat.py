"""Chats pass through the gateway, whole and piece by piece, and leave a row."""

from __future__ import annotations

import sqlite3

from tests.unit.core.chat_server import DONE, chunk, completion, streamed, told

from .conftest import SECRET, Start, events, spoken


def test_a_chat_is_passed_on_and_logged(start: Start) -> None:
    prices = {"price_prompt": 2.0, "price_completion": 8.0}
    with start(
        lambda body, n: completion("正面"), models={"gpt": "gpt-theirs"}, **prices
    ) as gateway:
        answer = gateway.chat("物流很快，包装也好", temperature=0.5, seed=7, logit_bias={"5": 1})
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert said["choices"][0]["message"] == {"role": "assistant", "content": "正面"}
        assert said["id"].startswith("chat_")
        assert answer.headers["x-feilun-cache"] == "off"
        sent, headers = gateway.sent(), gateway.upstream.requests[0][0]
        assert sent["model"] == "gpt-theirs"
        assert (sent["temperature"], sent["seed"], sent["logit_bias"]) == (0.5, 7, {"5": 1})
        assert headers["authorization"] == f"Bearer {SECRET}"
        assert gateway.key not in str(gateway.upstream.requests)
        (row,) = gateway.rows(1)
        assert row["id"] == said["id"]
        assert (row["model"], row["upstream"]) == ("gpt", "gpt-theirs")
        assert (row["text"], row["answer"]) == ("物流很快，包装也好", "正面")
        assert (row["outcome"], row["finish"], row["kept"]) == ("answered", "stop", "masked")
        assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (10, 5, 0)
        assert row["cost"] == (10 * 2.0 + 5 * 8.0) / 1e6
        assert row["latency_ms"] >= row["first_ms"] > 0


def test_the_row_is_durable_before_the_answer(start: Start) -> None:
    with start(lambda body, n: completion("ja")) as gateway:
        identity = gateway.chat("hi").json()["id"]
        path = gateway.project.folder / "events.db"
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT id FROM exchanges").fetchall() == [(identity,)]
        other.close()


def test_a_stream_comes_as_it_is_said(start: Start) -> None:
    with start(
        lambda body, n: told("物流", "很快", prompt_tokens=3, completion_tokens=2)
    ) as gateway:
        found = events(gateway.chat("hi", stream=True))
        assert found[-1] == "[DONE]"
        assert spoken(found) == "物流很快"
        assert len({event["id"] for event in found[:-1]}) == 1
        assert all("usage" not in event for event in found[:-1])
        assert gateway.sent()["stream_options"] == {"include_usage": True}
        (row,) = gateway.rows(1)
        assert row["id"] == found[0]["id"]
        assert (row["answer"], row["streamed"]) == ("物流很快", 1)
        assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (3, 2, 0)


def test_who_asks_for_the_usage_of_a_stream_gets_it(start: Start) -> None:
    with start(lambda body, n: told("a", prompt_tokens=3, completion_tokens=1)) as gateway:
        found = events(gateway.chat("hi", stream=True, stream_options={"include_usage": True}))
        assert found[-2]["usage"] == {"prompt_tokens": 3, "completion_tokens": 1}
        assert found[-2]["choices"] == []


def test_tokens_that_nobody_counted_are_estimates(start: Start) -> None:
    with start(lambda body, n: told("好" * 10), ask_usage=False, price_completion=1e6) as gateway:
        assert events(gateway.chat("hi", stream=True))[-1] == "[DONE]"
        assert "stream_options" not in gateway.sent()
        (row,) = gateway.rows(1)
        assert (row["completion_tokens"], row["estimated"], row["cost"]) == (6, 1, 6.0)


def test_the_pieces_may_be_cut_anywhere(start: Start) -> None:
    whole = b"".join(told("一", "二三", "\n[x] ok").pieces).replace(b"\n\n", b"\r\n\r\n")
    whole = b": a comment\r\n\r\nevent: message\r\nid: 5\r\n" + whole
    bytewise = tuple(whole[at : at + 1] for at in range(len(whole)))
    with start(lambda body, n: streamed(*bytewise)) as gateway:
        found = events(gateway.chat("hi", stream=True))
        assert spoken(found) == "一二三\n[x] ok"
        assert found[-1] == "[DONE]"


def test_a_server_that_does_not_stream_is_streamed_here(start: Start) -> None:
    with start(lambda body, n: completion("ja")) as gateway:
        found = events(gateway.chat("hi", stream=True))
        assert (spoken(found), found[-1]) == ("ja", "[DONE]")
        assert found[-2]["choices"][0]["finish_reason"] == "stop"


def test_a_stream_may_end_without_a_mark_once_it_is_whole(start: Start) -> None:
    pieces = chunk(role="assistant", content="ja"), chunk(finish_reason="stop")
    with start(lambda body, n: streamed(*pieces)) as gateway:
        found = events(gateway.chat("hi", stream=True))
        assert (spoken(found), found[-1]) == ("ja", "[DONE]")
        assert gateway.rows(1)[0]["outcome"] == "answered"


def test_calls_of_tools_pass_and_are_logged(start: Start) -> None:
    def call(arguments: str, **more: object) -> bytes:
        return chunk(tool_calls=[{"index": 0, "function": {"arguments": arguments}, **more}])

    first = chunk(
        tool_calls=[
            {
                "index": 0,
                "id": "c1",
                "type": "function",
                "function": {"name": "say", "arguments": ""},
            }
        ]
    )
    pieces = first, call('{"lab'), call('el": "正面"}'), chunk(finish_reason="tool_calls"), DONE
    with start(lambda body, n: streamed(*pieces)) as gateway:
        found = events(gateway.chat("hi", stream=True, tools=[{"type": "function"}]))
        said = [c["delta"]["tool_calls"][0] for e in found[:-2] for c in e["choices"]]
        assert "".join(one["function"]["arguments"] for one in said) == '{"label": "正面"}'
        assert gateway.sent()["tools"] == [{"type": "function"}]
        (row,) = gateway.rows(1)
        assert (row["answer"], row["finish"]) == ('{"label": "正面"}', "tool_calls")


def test_feedback_may_refer_to_an_exchange(start: Start) -> None:
    with start(lambda body, n: completion("ja")) as gateway:
        identity = gateway.chat("hi").json()["id"]
        rated = {"prediction_id": identity, "kind": "rating", "value": 1}
        assert gateway.client.post("/v1/feedback", json=rated).status_code == 200
        rated["prediction_id"] = "chat_never"
        assert gateway.client.post("/v1/feedback", json=rated).status_code == 404


def test_usage_is_charged_to_the_key(start: Start) -> None:
    with start(lambda body, n: completion("ja"), price_prompt=1e6) as gateway:
        for _time in range(3):
            gateway.chat("hallo")
        with gateway.project.events.database.read() as connection:
            rows = connection.exec_driver_sql(
                "SELECT key, requests, predictions, characters, tokens, cost FROM usage"
            ).fetchall()
    assert [tuple(row) for row in rows] == [(gateway.key.split("_")[1], 3, 0, 15, 45, 30.0)]


def test_the_models_are_listed(start: Start) -> None:
    with start(lambda body, n: completion("ja"), models={"gpt": "theirs"}) as gateway:
        listed = gateway.client.get("/v1/models").json()["data"]
        host = gateway.upstream.url.split("/")[2]
        assert listed[-1] == {"id": "gpt", "object": "model", "created": 0, "owned_by": host}
        assert listed[0]["live"] is True


def test_only_keys_with_the_scope_may_chat(start: Start) -> None:
    from feilun.team import Scope

    with start(lambda body, n: completion("ja")) as gateway:
        key = gateway.project.keys.add("other", frozenset({Scope.PREDICT}))
        gateway.client.headers["authorization"] = f"Bearer {key}"
        assert gateway.chat("hi").status_code == 403
        assert gateway.upstream.requests == []
