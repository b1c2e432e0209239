"""The Python client against a real service: answers, errors, retries, broken connections."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from feilun import client as package
from feilun.client import (
    AsyncClient,
    Classified,
    Client,
    Conflicting,
    KeyRefused,
    Limited,
    NoAnswer,
    NotThere,
    Refused,
    ServiceError,
    ServiceFailed,
    Unavailable,
)
from feilun.client.answers import LineError, LineResponse
from feilun.service import shapes, shapes_batches
from feilun.team import Scope

from .conftest import Served
from .live_server import CUT_AFTER, CUT_BEFORE, GARBAGE, answer

T = TypeVar("T")
TEXTS = ["质量不错，推荐", "terrible phone, broke after a day", "…"]


def ran(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def rows(served: Served) -> int:
    return len(served.project.events.predictions(0))


def test_it_imports_httpx_and_pydantic_and_nothing_heavy() -> None:
    heavy = ("torch", "transformers", "polars", "numpy", "sqlalchemy", "fastapi", "uvicorn")
    code = (
        "import sys, feilun; feilun.Client; feilun.AsyncClient;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_its_shapes_are_those_of_the_service() -> None:
    """A field that the service adds, renames or drops is seen here."""

    def fields(*models: Any) -> set[str]:
        return {name for model in models for name in model.model_fields}

    for ours, theirs in (
        (package.Classified, (shapes.Result, shapes.LabelsResult)),
        (package.Tagged, (shapes.TagResult,)),
        (package.Compared, (shapes.MatchResult,)),
        (package.Valued, (shapes.RegressResult,)),
        (package.EntityFound, (shapes.EntityFound,)),
        (package.ModelInfo, (shapes.ModelEntry,)),
        (package.Batch, (shapes_batches.BatchAnswer,)),
        (package.LineCounts, (shapes_batches.LineCounts,)),
    ):
        assert fields(ours) == fields(*theirs) - {"object"}


def test_one_is_one_and_several_are_a_list(served: Served) -> None:
    one = served.client.classify(TEXTS[0])
    assert isinstance(one, Classified)
    assert one.label in {"正面", "负面"}
    several = served.client.classify(tuple(TEXTS))
    assert several[0].label == one.label
    assert (several[2].label, several[2].reason) == (None, "empty")
    assert served.client.classify([]) == []
    assert rows(served) == 4


def test_feedback_models_and_batches(served: Served, tmp_path: Path) -> None:
    client = served.client
    prediction = client.classify(TEXTS[0])
    first = client.feedback(prediction.id, "correction", "负面", idempotency_key="ticket-1")
    assert client.feedback(prediction.id, "correction", "负面", idempotency_key="ticket-1") == first
    assert [model.live for model in client.models()] == [True]
    vectors = client.embeddings(TEXTS[:2])
    assert client.embeddings(TEXTS[1]) == pytest.approx(vectors[1], abs=1e-6)
    batch = client.create_batch(TEXTS)
    batch = client.wait_for_batch(batch.id)
    assert (batch.status, batch.lines.done) == ("completed", 3)
    lines = list(client.batch_results(batch.id))
    assert [line.custom_id for line in lines] == ["0", "1", "2"]
    assert isinstance(lines[0].response, LineResponse)
    assert lines[0].response.body["results"][0]["label"] == prediction.label
    path = tmp_path / "lines.jsonl"
    path.write_text('{"id": "a", "input": "好"}\nno json\n', encoding="utf-8")
    other = client.wait_for_batch(client.create_batch(path).id)
    results = list(client.batch_results(other.id))
    assert isinstance(results[1].error, LineError)
    assert [b.id for b in client.batches()] == [other.id, batch.id]
    assert client.cancel_batch(batch.id).status == "completed"


def test_any_number_of_inputs_goes_in_requests_of_what_the_service_takes(served: Served) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield f"质量不错 {taken}"

    answers = served.client.classify_each(endless())
    ids = [next(answers).id for _ in range(600)]
    assert len(set(ids)) == 600
    assert taken == 768  # three requests of 256


def test_it_learns_what_the_service_takes(served: Served) -> None:
    with Client(served.url, served.key, max_inputs=1000) as client:
        texts = [f"质量不错 {n}" for n in range(1000)]
        found = client.classify(texts)
        assert len(found) == 1000
        assert client._slices.most == 250
        before = served.proxy.connections
        client.classify(texts[:250])
        assert served.proxy.connections - before == 1


def test_what_is_too_large_is_halved_until_it_is_one_input(served: Served) -> None:
    long = "好" * 19_000  # 57 kB; the limit is 4 MB
    assert len(served.client.classify([long] * 100)) == 100
    assert served.client._slices.most == 256
    with pytest.raises(Refused) as refused:
        served.client.classify("好" * 20_001)
    assert (refused.value.said, refused.value.status) == ("input_too_long", 422)


@pytest.mark.parametrize(
    ("kind", "said", "ask"),
    [
        (KeyRefused, "no_key", lambda s: Client(s.url, "").models()),
        (NotThere, "batch_not_found", lambda s: s.client.batch("b_" + "0" * 32)),
        (NotThere, "prediction_not_found", lambda s: s.client.feedback("p_0", "rating", 1)),
        (Conflicting, "other_task", lambda s: s.client.tag("x")),
        (Refused, "bad_feedback", lambda s: s.client.feedback("p_0", "rating", 7)),
        (Refused, "invalid_fields", lambda s: s.client.feedback("p_0", "praise", 1)),
    ],
)
def test_refusals_are_typed_and_not_repeated(
    served: Served, kind: type[ServiceError], said: str, ask: Any
) -> None:
    with pytest.raises(kind) as refused:
        ask(served)
    assert refused.value.said == said
    assert refused.value.message
    assert served.proxy.connections == 1
    if said == "invalid_fields":
        assert refused.value.fields[0]["field"] == "kind"


def test_a_key_without_the_scope_is_told_the_remedy(served: Served) -> None:
    key = served.project.keys.add("reader", frozenset({Scope.READ}))
    with Client(served.url, key) as client, pytest.raises(KeyRefused) as refused:
        client.classify("x")
    assert refused.value.status == 403
    assert "predict" in (refused.value.remedy or "")


BUSY = answer(503, '{"error": {"code": "overloaded", "message": "m", "remedy": "r"}}')
LATER = answer(429, "{}", retry_after="3")


@pytest.mark.parametrize(
    "faults",
    [
        [BUSY],
        [BUSY, BUSY, LATER],
        [CUT_BEFORE],
        [CUT_AFTER],
        [GARBAGE],
        [CUT_AFTER, BUSY, CUT_AFTER],
    ],
)
def test_what_passes_is_tried_again_and_done_once(served: Served, faults: list[Any]) -> None:
    served.proxy.faults[:] = faults
    assert served.client.classify(TEXTS[0]).label is not None
    assert len(served.slept) == len(faults)
    assert all(0 < seconds <= 5 for seconds in served.slept)
    if LATER in faults:
        assert served.slept[faults.index(LATER)] >= 3


def test_an_answer_that_was_lost_is_not_computed_and_counted_twice(served: Served) -> None:
    served.proxy.faults[:] = [CUT_AFTER, CUT_AFTER]
    served.client.classify(TEXTS[0])
    assert rows(served) == 1


def test_a_feedback_whose_answer_was_lost_is_recorded_once(served: Served) -> None:
    prediction = served.client.classify(TEXTS[0])
    served.proxy.faults[:] = [CUT_AFTER, CUT_AFTER]
    served.client.feedback(prediction.id, "rating", True)
    assert served.project.events.counts()["feedback"] == 1


@pytest.mark.parametrize(
    ("fault", "kind", "tries"),
    [
        (BUSY, Unavailable, 3),
        (answer(502, "<html>"), Unavailable, 3),
        (LATER, Limited, 3),
        (answer(429, "{}", retry_after="100000"), Limited, 1),
        (answer(500, "{}"), ServiceFailed, 1),
        (answer(507, "{}"), ServiceFailed, 1),
        (answer(200, "[]"), ServiceFailed, 1),
        (answer(200, "no json"), ServiceFailed, 1),
        (answer(302, "", location="http://127.0.0.1:1/"), ServiceFailed, 1),
        (CUT_BEFORE, NoAnswer, 3),
        (GARBAGE, NoAnswer, 3),
    ],
)
def test_what_does_not_pass_ends_after_its_tries(
    served: Served, fault: Any, kind: type[ServiceError], tries: int
) -> None:
    served.proxy.faults[:] = [fault] * 9
    with Client(served.url, served.key, retries=2, sleep=served.slept.append) as client:
        with pytest.raises(kind) as failed:
            client.classify("x")
        assert type(failed.value) is kind
    assert (served.proxy.connections, len(served.slept)) == (tries, tries - 1)
    assert rows(served) == 0


def test_nobody_there_is_told_with_the_address() -> None:
    with (
        Client("http://127.0.0.1:1", "k", retries=1, sleep=lambda _s: None) as client,
        pytest.raises(NoAnswer, match=r"127\.0\.0\.1:1 did not answer .* tried 2"),
    ):
        client.models()


def test_a_silent_server_costs_only_the_timeout(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, "k", timeout_seconds=0.2, retries=1, sleep=lambda _s: None) as client,
            pytest.raises(NoAnswer, match="ReadTimeout"),
        ):
            client.models()


def test_results_that_break_off_are_told(served: Served) -> None:
    batch = served.client.create_batch(TEXTS)
    broken = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + b'{"id": null, "custom_id": "0",'
    served.client.wait_for_batch(batch.id)
    served.proxy.faults[:] = [broken + b' "line": 1, "response": null, "error": null}\n']
    with pytest.raises(NoAnswer):
        list(served.client.batch_results(batch.id))


def test_the_async_client_does_the_same(served: Served, tmp_path: Path) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    path = tmp_path / "lines.jsonl"
    path.write_text("".join(json.dumps({"input": text}) + "\n" for text in TEXTS))

    async def everything() -> None:
        async with AsyncClient(served.url, served.key, sleep=sleep, max_inputs=1000) as client:
            served.proxy.faults[:] = [BUSY, CUT_AFTER]
            one = await client.classify(TEXTS[0])
            assert len(slept) == 2
            assert rows(served) == 1
            texts = [f"好 {n}" for n in range(300)]
            several = await client.classify(texts)
            assert len({found.id for found in several}) == 300
            each = [found async for found in client.classify_each(texts[:2])]
            assert len(each) == 2
            assert await client.feedback(one.id, "rating", 1)
            assert len(await client.models()) == 1
            with pytest.raises(Conflicting):
                await client.match([("a", "b")])
            batch = await client.create_batch(path)
            batch = await client.wait_for_batch(batch.id, every_seconds=0.01)
            lines = [line async for line in client.batch_results(batch.id)]
            assert [line.line for line in lines] == [1, 2, 3]
            assert [b.id for b in await client.batches()] == [batch.id]
            assert (await client.cancel_batch(batch.id)).status == batch.status

    ran(everything())


def test_many_coroutines_share_one_client(served: Served) -> None:
    async def ask() -> list[Classified]:
        async with AsyncClient(served.url, served.key) as client:
            return await asyncio.gather(*(client.classify(f"好 {n}") for n in range(40)))

    assert len({found.id for found in ran(ask())}) == 40


def test_the_address_and_the_key_come_from_the_environment(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEILUN_URL", served.url + "/")
    monkeypatch.setenv("FEILUN_KEY", served.key)
    with Client() as client:
        assert client.classify("好").id


def test_connections_that_were_given_are_left_open(served: Served) -> None:
    with httpx.Client() as http:
        with Client(served.url, served.key, http=http) as client:
            assert client.models()
        assert not http.is_closed
