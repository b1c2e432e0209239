"""A request that names itself is answered, stored and charged once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from feilun.service.errors import json_bytes
from feilun.service.repeats import Keep, Repeated, Repeats
from feilun.store.events import IdempotencyReused, PredictionRow
from feilun.store.events.answers import KEPT_SECONDS
from feilun.team import Key, Scope
from feilun.wheel.project import Project

from .conftest import Running

BODY = {"input": ["推荐耳机", "terrible lamp"]}


def ask(running: Running, name: str, body: Any = None, key: str = "") -> httpx.Response:
    headers = {"idempotency-key": name, "authorization": f"Bearer {key or running.key}"}
    answer = running.client.post("/v1/classify", json=body or BODY, headers=headers)
    return answer  # type: ignore[return-value]


def stored(running: Running) -> int:
    return running.project.events.counts()["predictions"]


def test_a_repeat_gets_the_same_bytes_and_nothing_is_done_again(running: Running) -> None:
    first = ask(running, "one")
    again = ask(running, "one")
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert stored(running) == 2
    assert running.project.usage()[0].predictions == 2
    assert ask(running, "two").content != first.content
    assert stored(running) == 4


def test_another_body_or_route_under_the_same_name_is_refused(running: Running) -> None:
    assert ask(running, "one").status_code == 200
    refused = ask(running, "one", {"input": "其他"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "idempotency_reused")
    assert stored(running) == 2


def test_names_are_each_keys_own(running: Running) -> None:
    other = running.project.keys.add("other")
    assert ask(running, "one").json()["id"] != ask(running, "one", key=other).json()["id"]
    assert stored(running) == 4


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_name_has_1_to_255_characters(running: Running, name: str) -> None:
    answer = ask(running, name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_idempotency_key")
    assert ask(running, "x" * 255).status_code == 200


def test_a_refused_request_may_be_sent_again(running: Running) -> None:
    too_many = {"input": ["x"] * (running.project.settings.serve.max_inputs + 1)}
    assert ask(running, "one", too_many).status_code == 422
    assert ask(running, "one").status_code == 200


def test_two_at_the_same_time_are_one(running: Running) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _number: ask(running, "same"), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert stored(running) == 2


KEY = Key("k", "k", frozenset(Scope), "", None)


def _row(identity: str) -> PredictionRow:
    return PredictionRow(identity, "r", 1.0, "m", "t", "l", 1.0, None, 1.0, "k")


def test_the_second_waits_for_the_first_and_takes_over_when_it_fails(
    trained_project: Project,
) -> None:
    repeats = Repeats(trained_project.events)
    made: list[str] = []

    async def both() -> list[Repeated | BaseException]:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def fail(_keep: Keep) -> dict[str, Any]:
            made.append("first")
            begun.set()
            await go_on.wait()
            raise RuntimeError("lost")

        async def succeed(keep: Keep) -> dict[str, Any]:
            made.append("second")
            trained_project.events.record([_row("p1"), keep({"id": "x"})])
            return {"id": "x"}

        first = asyncio.create_task(repeats.once(KEY, "n", b"body", fail))
        await begun.wait()
        second = asyncio.create_task(repeats.once(KEY, "n", b"body", succeed))
        with pytest.raises(IdempotencyReused):
            await repeats.once(KEY, "n", b"other", succeed)
        assert made == ["first"]
        go_on.set()
        return list(await asyncio.gather(first, second, return_exceptions=True))

    failed, answered = asyncio.run(both())
    assert isinstance(failed, RuntimeError)
    assert answered == Repeated(json_bytes({"id": "x"}), before=False)
    assert made == ["first", "second"]
    assert not repeats._under_way


def test_what_another_process_answered_in_between_is_given(trained_project: Project) -> None:
    """Both look, neither finds anything, both answer: one is stored and given to both."""
    events = trained_project.events
    ours, theirs = Repeats(events), Repeats(events)
    before = events.counts()["predictions"]

    async def answer(keep: Keep, identity: str) -> dict[str, Any]:
        events.record([_row(identity), keep({"id": identity})])
        return {}

    async def overtaken(keep: Keep) -> dict[str, Any]:
        await theirs.once(KEY, "n", b"body", lambda kept: answer(kept, "p-theirs"))
        return await answer(keep, "p-ours")

    found = asyncio.run(ours.once(KEY, "n", b"body", overtaken))
    assert found == Repeated(json_bytes({"id": "p-theirs"}), before=True)
    assert events.counts()["predictions"] == before + 1


def test_after_a_day_the_name_is_free_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    real = time.time
    first = ask(running, "one")
    monkeypatch.setattr("feilun.service.repeats.time.time", lambda: real() + KEPT_SECONDS + 1)
    again = ask(running, "one", {"input": "其他"})
    assert again.status_code == 200
    assert again.json()["id"] != first.json()["id"]
