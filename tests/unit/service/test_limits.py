"""Keys are held to their limits, to the request, and told how they stand."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest
from starlette.testclient import TestClient

from feilun.service.access import GUESSES, Access, TooManyWrongKeys
from feilun.service.limits import Limits, QuotaExhausted
from feilun.store.events import PredictionRow
from feilun.team import Key, Scope
from feilun.team import Limits as KeyLimits
from feilun.team.key_text import new_text
from feilun.team.keys import MistypedKey, NoKey
from feilun.wheel.project import Project

from .conftest import Running


def classify(client: TestClient, key: str, given: Any = "推荐耳机", **headers: str) -> Any:
    return client.post(
        "/v1/classify", json={"input": given}, headers={"authorization": f"Bearer {key}", **headers}
    )


def test_a_key_sends_its_burst_and_then_waits(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("feilun.service.limits.time", _Clock(clock))
    key = running.project.keys.add("slow", limits=KeyLimits(per_minute=60, burst=3))
    told = []
    for _number in range(3):
        answer = classify(running.client, key)
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"key";q=3;w=3'
        told.append(answer.headers["ratelimit"])
    assert told == ['"key";r=2;t=1', '"key";r=1;t=2', '"key";r=0;t=3']
    refused = classify(running.client, key)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.headers["ratelimit"] == '"key";r=0;t=3'
    assert refused.json()["error"]["code"] == "rate_limited"
    assert classify(running.client, running.key).status_code == 200, "other keys are not affected"
    clock[0] += 1.0
    assert classify(running.client, key).status_code == 200
    assert classify(running.client, key).status_code == 429
    assert "ratelimit" not in classify(running.client, running.key).headers


class _Clock:
    def __init__(self, now: list[float]) -> None:
        self._now = now

    def monotonic(self) -> float:
        return self._now[0]


def test_a_quota_is_used_to_the_last_prediction(running: Running) -> None:
    key = running.project.keys.add("quota", limits=KeyLimits(monthly=5))
    assert classify(running.client, key, ["a", "b", "c"]).status_code == 200
    refused = classify(running.client, key, ["a", "b", "c"])
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error["code"] == "quota_exhausted"
    assert "--monthly" in error["remedy"]
    assert 0 < int(refused.headers["retry-after"]) <= 31 * 86400
    assert classify(running.client, key, ["a", "b"]).status_code == 200
    assert classify(running.client, key).status_code == 429
    own = running.client.get("/v1/usage", headers={"authorization": f"Bearer {key}"}).json()
    mine = next(entry for entry in own["data"] if entry["name"] == "quota")
    assert (mine["predictions"], mine["requests"], mine["left"]) == (5, 2, 0)


def test_a_request_that_fails_uses_nothing_of_the_quota(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = running.project.keys.add("quota", limits=KeyLimits(monthly=1))

    def full(_events: object) -> None:
        from feilun.store.events import LogFull

        raise LogFull()

    with monkeypatch.context() as patch:
        patch.setattr(running.project.events, "submit", full)
        assert classify(running.client, key).status_code == 503
    assert classify(running.client, key).status_code == 200
    assert classify(running.client, key).status_code == 429


def _key(**limits: Any) -> Key:
    return Key("k", "k", frozenset(Scope), "", None, None, KeyLimits(**limits))


def test_requests_at_the_same_time_cannot_use_one_prediction_twice(
    trained_project: Project,
) -> None:
    limits, key = Limits(trained_project.events), _key(monthly=10)

    async def one(number: int) -> bool:
        try:
            with await limits.reserve(key, 1):
                await asyncio.sleep(0.001 * (number % 3))
        except QuotaExhausted:
            return False
        return True

    async def many() -> Counter[bool]:
        return Counter(await asyncio.gather(*(one(number) for number in range(40))))

    assert asyncio.run(many())[True] == 10


def test_what_another_process_answered_counts(
    trained_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, key = Limits(trained_project.events), _key(monthly=10)

    def answered(name: str, count: int) -> None:
        trained_project.events.record(
            [
                PredictionRow(
                    f"{name}{number}", name, time.time(), "m", "t", "l", 1.0, None, 1.0, "k"
                )
                for number in range(count)
            ]
        )

    async def reserve(count: int) -> None:
        with await limits.reserve(key, count):
            raise RuntimeError("given back")

    answered("r1", 7)
    with pytest.raises(RuntimeError):
        asyncio.run(reserve(3))
    answered("r2", 1)
    with pytest.raises(RuntimeError):
        asyncio.run(reserve(3))
    limits._spent["k"].loaded_at -= 2.0
    with pytest.raises(QuotaExhausted):
        asyncio.run(reserve(3))


def test_money_is_spent_until_it_is_gone(trained_project: Project) -> None:
    limits, key = Limits(trained_project.events), _key(monthly_cost=1.0)

    async def spend(cost: float) -> None:
        with await limits.reserve(key, 0) as reserved:
            reserved.cost = cost

    async def all_of_it() -> None:
        await spend(0.6)
        await spend(0.6)
        with pytest.raises(QuotaExhausted, match=r"1\.2"):
            await spend(0.1)

    asyncio.run(all_of_it())


def test_a_new_month_begins_with_the_whole_quota(
    trained_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits, key = Limits(trained_project.events), _key(monthly=1)

    async def both() -> None:
        with await limits.reserve(key, 1):
            pass
        with pytest.raises(QuotaExhausted):
            await limits.reserve(key, 1)
        monkeypatch.setattr("feilun.service.limits._month", lambda: "2999-01-01")
        with await limits.reserve(key, 1):
            pass

    asyncio.run(both())


def tries(running: Running, text: str) -> int:
    return running.client.get("/v1/models", headers={"authorization": f"Bearer {text}"}).status_code


def test_guessing_is_slowed_down_and_right_keys_still_open(running: Running) -> None:
    used, unused = running.key, running.project.keys.add("never used")
    assert tries(running, used) == 200
    told = Counter(tries(running, str(new_text())) for _try in range(GUESSES + 10))
    assert told == {401: GUESSES, 429: 10}
    refused = running.client.get("/v1/models", headers={"authorization": f"Bearer {new_text()}"})
    assert refused.json()["error"]["code"] == "too_many_wrong_keys"
    assert int(refused.headers["retry-after"]) >= 1
    assert tries(running, "not even a key") == 429
    assert tries(running, used) == 200
    assert tries(running, unused) == 200


def test_guesses_at_one_key_are_looked_at_only_so_often(trained_project: Project) -> None:
    target = trained_project.keys.add("target")
    identity = target.split("_")[1]
    access = Access(trained_project.keys, trained_project.events)
    looked = 0
    real = trained_project.keys.opened

    def opened(*arguments: Any) -> Key | None:
        nonlocal looked
        looked += 1
        return real(*arguments)

    trained_project.keys.opened = opened  # type: ignore[method-assign]

    async def guess(text: str, client: str) -> str:
        try:
            await access.check(f"Bearer {text}", None, client)
        except (NoKey, TooManyWrongKeys) as error:
            return error.code
        return "open"

    async def attack() -> None:
        nonlocal looked
        told = Counter([await guess(str(new_text(identity)), "10.0.0.1") for _try in range(500)])
        assert told == {"no_key": GUESSES, "too_many_wrong_keys": 500 - GUESSES}
        assert looked <= 2 * GUESSES + 6
        # From elsewhere the owner is not kept out, and once known, not from there either.
        assert await guess(target, "10.0.0.2") == "open"
        assert await guess(target, "10.0.0.1") == "open"

    asyncio.run(attack())


def test_memory_stays_bounded_whoever_guesses(trained_project: Project) -> None:
    access = Access(trained_project.keys, trained_project.events)

    async def attack() -> None:
        for number in range(6000):
            client = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            with pytest.raises(MistypedKey):
                await access.check("Bearer x", None, client)

    asyncio.run(attack())
    assert len(access._guesses) <= 4096
    assert not access._known


def test_a_household_of_ipv6_is_one_address(trained_project: Project) -> None:
    access = Access(trained_project.keys, trained_project.events)

    async def attack() -> Counter[str]:
        told: Counter[str] = Counter()
        for number in range(GUESSES + 5):
            try:
                await access.check("Bearer x", None, f"2001:db8::{number:x}")
            except (NoKey, TooManyWrongKeys) as error:
                told[error.code] += 1
        return told

    assert asyncio.run(attack()) == {"mistyped_key": GUESSES, "too_many_wrong_keys": 5}


def test_expiry_and_rotation_take_effect_at_once(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = running.project.keys
    first = keys.add("turning")
    assert tries(running, first) == 200
    second = keys.rotate(first.split("_")[1], 3600)
    assert (tries(running, first), tries(running, second)) == (200, 200)
    third = keys.rotate(first.split("_")[1], 0)
    assert tries(running, third) == 200
    assert (tries(running, first), tries(running, second)) == (401, 401)
    real = time.time
    ending = keys.add("ending", expires_at="2999-01-01T00:00:00.000000+00:00")
    assert tries(running, ending) == 200
    monkeypatch.setattr("feilun.service.access.time.time", lambda: real() + 4e10)
    assert running.service.access._remembered(next(reversed(running.service.access._known))) is None


def test_the_last_use_is_noted(running: Running) -> None:
    assert tries(running, running.key) == 200
    running.project.events.record([])  # what was handed in before is committed by then
    entry = next(one for one in running.project.usage() if one.name == "test")
    assert entry.last_used is not None
    assert abs(entry.last_used - time.time()) < 600
