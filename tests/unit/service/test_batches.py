"""Batches: taken in within limits, worked off behind live requests, gone on with after a kill."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from feilun.core.errors import Busy
from feilun.service.batches import worker as worker_module
from feilun.service.batches.intake import FOLDER
from feilun.service.batches.worker import Worker
from feilun.stages.serve import Answered
from feilun.store.events.batches import Batches, BatchPiece
from feilun.team import Scope
from feilun.team.keys import Limits

from .conftest import Running

LINES = {"content-type": "application/jsonl"}


class Killed(Busy):
    """Ends a step as a kill would: the worker neither answers for it nor writes anything."""


def jsonl(*rows: Any) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def send(running: Running, content: bytes, **headers: str) -> dict[str, Any]:
    answer = running.client.post("/v1/batches", content=content, headers={**LINES, **headers})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def ended(running: Running, identity: str) -> dict[str, Any]:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        batch = running.client.get("/v1/batches/status", params={"id": identity}).json()
        if batch["status"] not in {"queued", "running"}:
            return dict(batch)
        time.sleep(0.02)
    raise AssertionError(batch)


def results(running: Running, identity: str) -> list[dict[str, Any]]:
    answer = running.client.get("/v1/batches/results", params={"id": identity})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in answer.text.splitlines()]


def test_every_line_is_answered_in_order_and_metered(running: Running) -> None:
    rows = [{"id": f"r{n}", "input": f"质量不错，推荐 {n}"} for n in range(150)]
    made = send(running, jsonl(*rows))
    assert made["status"] == "queued"
    batch = ended(running, made["id"])
    assert batch["status"] == "completed"
    assert batch["lines"] == {"total": 150, "done": 150, "failed": 0}
    found = results(running, made["id"])
    assert [one["custom_id"] for one in found] == [row["id"] for row in rows]
    assert [one["line"] for one in found] == list(range(1, 151))
    logged = {row["id"]: row for row in running.project.events.predictions(0)}
    assert len(logged) == 150
    for one, row in zip(found, rows, strict=True):
        answer = one["response"]["body"]["results"][0]
        live = running.client.post("/v1/classify", json={"input": row["input"]}).json()
        assert answer["label"] == live["results"][0]["label"]
        assert logged[answer["id"]]["input"] == row["input"]
        assert logged[answer["id"]]["route"] == "batch"
    assert not list((running.project.folder / FOLDER).glob("b_*"))


def test_openai_lines_lists_and_bad_lines_stand_beside_each_other(running: Running) -> None:
    openai = {"custom_id": "o", "method": "POST", "url": "/v1/classify", "body": {"input": "好"}}
    content = b"\n".join(
        [
            json.dumps(openai).encode(),
            b"",
            b'{"id": "two", "input": ["good", "bad"]}',
            b"not json",
            b"[1]",
            b'{"id": 7, "input": "x"}',
            b'{"input": 7, "id": "seven"}',
            json.dumps({**openai, "url": "/v1/tag"}).encode(),
            json.dumps({**openai, "body": {}}).encode(),
            b'{"id": "many", "input": ' + json.dumps(["a"] * 257).encode() + b"}",
            b'{"id": "deep", "input": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b"\xff\xfe",
            b'{"id": "last", "input": "ok"}',
        ]
    )
    batch = ended(running, send(running, content)["id"])
    assert batch["lines"] == {"total": 12, "done": 12, "failed": 9}
    found = results(running, batch["id"])
    assert [one["line"] for one in found] == [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    good = {one["custom_id"]: one for one in found if one["error"] is None}
    assert good.keys() == {"o", "two", "last"}
    assert len(good["two"]["response"]["body"]["results"]) == 2
    bad = {one["line"]: one["error"]["code"] for one in found if one["error"] is not None}
    assert bad == {
        4: "malformed", 5: "malformed", 6: "invalid_fields", 7: "invalid_fields", 8: "malformed",
        9: "invalid_fields", 10: "too_many_inputs", 11: "malformed", 12: "malformed",
    }  # fmt: skip


def test_a_line_that_is_too_long_costs_only_itself(running: Running) -> None:
    limit = running.project.settings.serve.max_body_bytes
    content = jsonl({"id": "a", "input": "good"}) + b"x" * (limit + 10) + b"\n"
    batch = ended(running, send(running, content + jsonl({"id": "b", "input": "bad"}))["id"])
    assert batch["lines"] == {"total": 3, "done": 3, "failed": 1}
    assert [one["error"] and one["error"]["code"] for one in results(running, batch["id"])] == [
        None, "too_large", None,
    ]  # fmt: skip


def limited(running: Running, monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    settings = running.project.settings
    serve = settings.serve.model_copy(update=limits)
    monkeypatch.setattr(running.project, "settings", settings.model_copy(update={"serve": serve}))


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b" \n\n  \n", 400, "malformed"),
        (jsonl(*[{"input": "a"}] * 6), 413, "too_many_lines"),
        (b'{"input": "a"}' * 100, 413, "too_large"),
    ],
)
def test_what_is_too_much_or_nothing_leaves_nothing(
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    status: int,
    code: str,
) -> None:
    limited(running, monkeypatch, max_batch_lines=5, max_batch_bytes=1000)
    answer = running.client.post("/v1/batches", content=content, headers=LINES)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert running.client.get("/v1/batches").json()["data"] == []
    assert not list((running.project.folder / FOLDER).glob("*"))


def test_the_media_type_and_the_key_are_checked_before_a_byte_is_read(running: Running) -> None:
    content = jsonl({"input": "a"})
    for wrong in ("application/json", "text/plain", ""):
        answer = running.client.post(
            "/v1/batches", content=content, headers={"content-type": wrong}
        )
        assert answer.status_code == 415
    key = running.project.keys.add("reader", frozenset({Scope.READ}))
    for authorization, status in (("", 401), (f"Bearer {key}", 403)):
        answer = running.client.post(
            "/v1/batches", content=content, headers={**LINES, "authorization": authorization}
        )
        assert answer.status_code == status


def test_a_key_has_only_so_many_unfinished_batches_and_may_cancel_one(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(running, monkeypatch, max_batches=2)
    monkeypatch.setattr(Worker, "_turn", lambda self: False)
    first, _second = [send(running, jsonl({"input": "a"})) for _ in range(2)]
    answer = running.client.post("/v1/batches", content=jsonl({"input": "a"}), headers=LINES)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "too_many_batches")
    other = running.project.keys.add("other")
    send(running, jsonl({"input": "a"}), authorization=f"Bearer {other}")
    cancelled = running.client.post("/v1/batches/cancel", params={"id": first["id"]})
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    again = running.client.post("/v1/batches/cancel", params={"id": first["id"]})
    assert again.json() == cancelled.json()
    send(running, jsonl({"input": "a"}))


def test_a_batch_is_its_own_keys(running: Running) -> None:
    made = send(running, jsonl({"input": "a"}))
    other = {"authorization": f"Bearer {running.project.keys.add('other')}"}
    params = {"id": made["id"]}
    for method, path in (
        ("GET", "/v1/batches/status"),
        ("GET", "/v1/batches/results"),
        ("POST", "/v1/batches/cancel"),
    ):
        answer = running.client.request(method, path, params=params, headers=other)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "batch_not_found")
        for wrong in ("../../pepper", "b_", made["id"] + "\n", "b_" + "G" * 32):
            answer = running.client.request(method, path, params={"id": wrong})
            assert answer.status_code == 422
    assert running.client.get("/v1/batches", headers=other).json()["data"] == []


def test_a_killed_worker_goes_on_where_it_was(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is cut off between prediction and commit, again and again: what was not
    committed is done again, what was is not."""
    rows = [{"id": str(n), "input": f"质量不错 {n}"} for n in range(200)]
    monkeypatch.setattr(worker_module, "PIECE_INPUTS", 30)
    submit = running.project.events.submit
    kills = 0

    def cut_off(events: Any) -> Any:
        nonlocal kills
        if isinstance(events[-1], BatchPiece) and kills < 9:
            kills += 1
            # As if the process were gone: no handler of ours for it.
            if kills % 3:
                raise Killed("before the commit")
            submit(events).result()
            raise Killed("after the commit")
        return submit(events)

    monkeypatch.setattr(running.project.events, "submit", cut_off)
    made = send(running, jsonl(*rows))
    store = Batches(running.project.events.database)
    until = time.monotonic() + 60
    while time.monotonic() < until and store.open():
        # As a new process would: nothing is known but what is stored.
        fresh = Worker(running.service)
        fresh._loop = running.client.app.state.batches._loop  # type: ignore[attr-defined]
        for batch in store.open():
            fresh._step(batch)
        fresh.close()
    assert kills >= 9
    assert ended(running, made["id"])["lines"] == {"total": 200, "done": 200, "failed": 0}
    assert [one["custom_id"] for one in results(running, made["id"])] == [r["id"] for r in rows]
    logged = [row for row in running.project.events.predictions(0) if row["route"] == "batch"]
    assert Counter(row["input"] for row in logged) == Counter(row["input"] for row in rows)


def test_two_workers_never_count_a_piece_twice(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "PIECE_INPUTS", 10)
    other = Worker(running.service)
    other.start(running.client.app.state.batches._loop)  # type: ignore[attr-defined]
    rows = [{"id": str(n), "input": f"质量不错 {n}"} for n in range(300)]
    batch = ended(running, send(running, jsonl(*rows))["id"])
    other.close()
    assert batch["lines"]["done"] == 300
    assert [one["custom_id"] for one in results(running, batch["id"])] == [r["id"] for r in rows]
    assert len(running.project.events.predictions(0)) == 300


def test_an_input_the_model_cannot_bear_costs_only_its_own_line(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = running.service.live.engine.submit

    def choosy(inputs: Any, *more: Any, **named: Any) -> Future[Answered]:
        if "poison" in inputs:
            failed: Future[Answered] = Future()
            failed.set_exception(ValueError("poison"))
            return failed
        return submit(inputs, *more, **named)

    monkeypatch.setattr(running.service.live.engine, "submit", choosy)
    rows = [{"id": text, "input": text} for text in ("good", "poison", "bad")]
    batch = ended(running, send(running, jsonl(*rows))["id"])
    assert batch["lines"] == {"total": 3, "done": 3, "failed": 1}
    codes = [one["error"] and one["error"]["code"] for one in results(running, batch["id"])]
    assert codes == [None, "internal_error", None]


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_a_lost_or_damaged_input_fails_the_batch(
    running: Running, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(Worker, "_turn", lambda self: False)
    made = send(running, jsonl({"input": "a"}))
    path: Path = running.project.folder / FOLDER / f"{made['id']}.jsonl"
    assert path.stat().st_mode & 0o077 == 0
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b'{"input": "b"}\n')
    monkeypatch.undo()
    assert ended(running, made["id"])["status"] == "failed"
    assert running.project.events.predictions(0) == []


def test_live_requests_go_first(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the engine is busy with live requests no piece of a batch is handed to it, until the
    batch's patience ends."""
    monkeypatch.setattr(worker_module, "PATIENCE_SECONDS", 0.3)
    engine = running.service.live.engine
    monkeypatch.setattr(type(engine), "idle", property(lambda self: False))
    asked: list[float] = []
    submit = engine.submit

    def noted(inputs: Any, *more: Any, **named: Any) -> Future[Answered]:
        asked.append(time.monotonic())
        return submit(inputs, *more, **named)

    monkeypatch.setattr(engine, "submit", noted)
    started = time.monotonic()
    made = send(running, jsonl({"input": "a"}))
    ended(running, made["id"])
    assert asked[0] - started >= 0.3


def test_old_batches_and_orphans_are_forgotten(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = ended(running, send(running, jsonl({"input": "a"}))["id"])
    folder = running.project.folder / FOLDER
    orphan = folder / "b_00000000000000000000000000000000.jsonl"
    orphan.write_bytes(b"{}")
    monkeypatch.setattr(worker_module, "_ORPHAN_SECONDS", -1.0)
    monkeypatch.setattr(Worker, "_turn", lambda self: False)
    unfinished = send(running, jsonl({"input": "b"}))
    limited(running, monkeypatch, batch_days=1e-9)
    Worker(running.service)._forget()
    assert not orphan.exists()
    assert (folder / f"{unfinished['id']}.jsonl").exists()
    known = [batch["id"] for batch in running.client.get("/v1/batches").json()["data"]]
    assert known == [unfinished["id"]]
    assert list(Batches(running.project.events.database).results(done["id"])) == []


def test_a_name_makes_a_batch_once(running: Running) -> None:
    content = jsonl({"input": "good"})
    first = send(running, content, **{"idempotency-key": "n-1"})
    again = running.client.post(
        "/v1/batches", content=content, headers={**LINES, "idempotency-key": "n-1"}
    )
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    other = running.client.post(
        "/v1/batches", content=content * 2, headers={**LINES, "idempotency-key": "n-1"}
    )
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_reused")
    ended(running, first["id"])
    assert len(running.client.get("/v1/batches").json()["data"]) == 1
    assert not list((running.project.folder / FOLDER).glob("*"))


def test_a_quota_holds_for_batches_too(running: Running) -> None:
    key = running.project.keys.add("small", limits=Limits(monthly=100))
    own = {"authorization": f"Bearer {key}"}
    refused = running.client.post(
        "/v1/batches", content=jsonl(*[{"input": "a"}] * 101), headers={**LINES, **own}
    )
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_exhausted")
    made = send(running, jsonl(*[{"input": ["a", "b"]}] * 80), **own)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        params = {"id": made["id"]}
        batch = running.client.get("/v1/batches/status", params=params, headers=own).json()
        if batch["status"] == "completed":
            break
        time.sleep(0.02)
    assert batch["lines"] == {"total": 80, "done": 80, "failed": 30}
    assert len(running.project.events.predictions(0)) == 100
    answer = running.client.get("/v1/batches/results", params=params, headers=own)
    codes = [json.loads(line)["error"] for line in answer.text.splitlines()]
    assert {error["code"] for error in codes if error} == {"quota_exhausted"}


def test_a_revoked_key_asks_for_nothing_more(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Worker, "_turn", lambda self: False)
    key = running.project.keys.add("other")
    made = send(running, jsonl({"input": "a"}), authorization=f"Bearer {key}")
    running.project.keys.revoke(key.split("_")[1])
    monkeypatch.undo()
    store = Batches(running.project.events.database)
    until = time.monotonic() + 60
    while store.open() and time.monotonic() < until:
        time.sleep(0.02)
    known = store.known(made["id"])
    assert known is not None
    assert known.state == "cancelled"
    assert running.project.events.predictions(0) == []


def test_a_line_may_name_whom_it_is_about(running: Running) -> None:
    ended(running, send(running, jsonl({"input": "good", "subject": "customer-1"}))["id"])
    row = running.project.events.predictions(0)[0]
    assert row["subject"] == running.project.privacy.digest("customer-1")
