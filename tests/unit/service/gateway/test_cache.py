"""An answer is given again where that is allowed, and costs nothing then."""

from __future__ import annotations

import pytest

from feilun.service.gateway.cache import Cache, name_of
from tests.unit.core.chat_server import completion, told

from .conftest import Start, events, spoken


def test_the_one_not_used_for_longest_goes_first() -> None:
    cache = Cache(60, 2, 10_000)
    for name in (b"a", b"b"):
        cache.put(name, {"of": name.decode()})
    assert cache.get(b"a") == {"of": "a"}
    cache.put(b"c", {"of": "c"})
    assert (cache.get(b"a"), cache.get(b"b"), len(cache)) == ({"of": "a"}, None, 2)


def test_it_holds_no_more_bytes_than_allowed() -> None:
    cache = Cache(60, 100, 1000)
    for number in range(50):
        cache.put(b"%d" % number, {"text": "x" * 200})
        assert cache.num_bytes <= 1000
    assert 0 < len(cache) < 5
    cache.put(b"large", {"text": "x" * 2000})
    assert cache.get(b"large") is None
    assert cache.get(b"49") is not None


def test_what_is_old_is_forgotten() -> None:
    now = 0.0
    cache = Cache(60, 10, 1000, clock=lambda: now)
    cache.put(b"a", {"x": 1})
    now = 59
    assert cache.get(b"a") == {"x": 1}
    now = 61
    assert cache.get(b"a") is None
    assert cache.num_bytes == len(cache) == 0


def test_what_is_given_out_is_nobody_elses() -> None:
    cache = Cache(60, 10, 1000)
    cache.put(b"a", {"x": [1]})
    found = cache.get(b"a")
    assert found is not None
    found["x"].append(2)
    assert cache.get(b"a") == {"x": [1]}


def test_how_it_is_answered_is_not_what_is_asked() -> None:
    body = {"model": "m", "messages": [], "temperature": 0}
    assert name_of(body | {"stream": True, "stream_options": {}}) == name_of(body)
    assert name_of({"temperature": 0, "messages": [], "model": "m"}) == name_of(body)
    for other in ({"model": "n"}, {"messages": [1]}, {"seed": 1}, {"temperature": 1}):
        assert name_of(body | other) != name_of(body)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
def test_a_second_answer_comes_from_the_first(start: Start, first: bool, second: bool) -> None:
    def answer(body: dict[str, object], _number: int) -> object:
        if body.get("stream"):
            return told("j", "a", prompt_tokens=10, completion_tokens=5)
        return completion("ja")

    with start(answer, price_prompt=1e6) as gateway:
        one = gateway.chat("hi", stream=first, temperature=0)
        two = gateway.chat("hi", stream=second, temperature=0)
        assert [a.headers["x-feilun-cache"] for a in (one, two)] == ["miss", "hit"]
        assert len(gateway.upstream.requests) == 1
        if second:
            found = events(two)
            assert (spoken(found), found[-1]) == ("ja", "[DONE]")
        else:
            assert two.json()["choices"][0]["message"]["content"] == "ja"
            assert two.json()["choices"][0]["finish_reason"] == "stop"
        rows = gateway.rows(2)
        assert [row["outcome"] for row in rows] == ["answered", "cached"]
        assert [row["cost"] for row in rows] == [10.0, 0.0]
        assert rows[0]["id"] != rows[1]["id"]
        assert [row["answer"] for row in rows] == ["ja", "ja"]
        with gateway.project.events.database.read() as connection:
            tokens = connection.exec_driver_sql("SELECT requests, tokens, cost FROM usage").one()
        assert tuple(tokens) == (2, 15, 10.0)


def test_other_people_get_the_same_answer_with_their_own_names(start: Start) -> None:
    with start(lambda body, n: completion("我给 [MOBILE_1] 打电话")) as gateway:
        for number in ("13812345678", "13987654321"):
            answer = gateway.chat(f"打给 {number}", temperature=0)
            assert answer.json()["choices"][0]["message"]["content"] == f"我给 {number} 打电话"
        assert len(gateway.upstream.requests) == 1


@pytest.mark.parametrize(
    ("setting", "temperature", "asked"),
    [("off", 0, 2), ("deterministic", 0, 1), ("deterministic", 1, 2), ("deterministic", None, 2),
     ("all", 1, 1)],
)  # fmt: skip
def test_what_may_be_given_again_is_set(
    start: Start, setting: str, temperature: float | None, asked: int
) -> None:
    more = {} if temperature is None else {"temperature": temperature}
    with start(lambda body, n: completion("ja"), cache=setting) as gateway:
        for _time in range(2):
            gateway.chat("hi", **more)
        assert len(gateway.upstream.requests) == asked


def test_what_failed_or_was_cut_off_is_asked_again(start: Start) -> None:
    half = completion("half")
    cut = half._replace(content=half.content.replace(b'"stop"', b"null"))
    with start(lambda body, n: cut) as gateway:
        for _time in range(2):
            assert gateway.chat("hi", temperature=0).headers["x-feilun-cache"] == "miss"
        assert len(gateway.upstream.requests) == 2
