"""Personal data in the whole flow: seeded canaries of twelve kinds, in Chinese and in English,
go through predictions, batches, chats, feedback, comments, a turn, errors, exports, metrics,
traces, webhooks and the console. None may be in any file of the project but sealed in the vault,
nor in anything that leaves it."""

# ruff: noqa: E501  (texts read better in one line)
from __future__ import annotations

import io
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest
from starlette.testclient import TestClient
from tests.evidence import Evidence
from tests.unit.core.chat_server import Chat, Reply, chat_server, completion
from tests.unit.local_host import LocalHost, local_host
from tests.unit.service.gateway.conftest import settings_of
from tests.unit.service.test_outbox import SECRET, with_channel

from feilun.service import policy
from feilun.service.app import create_app
from feilun.service.outbox import Courier
from feilun.service.telemetry.logs import set_up
from feilun.stages.prepare.mask import Mask
from feilun.team import Scope
from feilun.wheel.exchange import export_feedback
from feilun.wheel.project import Project

CANARIES = {
    "email": (("请发到 {} 谢谢", "wang.fang.77@liepin.example.cn"),
              ("write to {} please", "jane.roe.88@corp.example.com")),
    "mobile": (("我的手机是{}，请回电", "13812345670"), ("my number in China is {} thanks", "13987654321")),
    "phone": (("国外电话 {} 联系我", "+44 20 7946 0958"), ("call me at {} today", "(415) 555-2671")),
    "landline": (("座机{}没人接", "010-62751234"), ("office line {} in Shanghai", "021-54321876")),
    "resident_id": (("身份证{}已上传", "11010519491231002X"), ("my Chinese id is {} ok", "440308199901101512")),
    "bank_card": (("退款到卡{}上", "4111111111111111"), ("refund to card {} now", "5555555555554444")),
    "iban": (("汇到账户{}即可", "DE89370400440532013000"), ("wire it to {} soon", "GB82WEST12345698765432")),
    "passport": (("护照号{}办理退税", "E87654321"), ("passport number {} for customs", "E12348765")),
    "ssn": (("美国社保号{}填错", "219-09-9999"), ("my SSN is {} by the way", "078-05-1120")),
    "ip": (("从{}登录失败", "203.0.113.77"), ("blocked from {} again", "198.51.100.23")),
    "plate": (("车牌京{}停在门口", "A8D3F7"), ("plate 沪{} at the gate", "B9K2M5")),
    "account": (("加我微信{}细说", "feifei_7788"), ("wechat {} for details", "roe_jane_99")),
}  # fmt: skip
VALUES = [value for pair in CANARIES.values() for _sentence, value in pair]
TEXTS = [
    f"{sentence.format(value)} {number}"
    for number, pair in enumerate(CANARIES.values())
    for sentence, value in pair
]
STEPS = ("normalise", "mask", "duplicates")
SETTINGS = "".join(f'\n[[prepare.steps]]\nuse = "{step}"\n' for step in STEPS)
PAGES = sorted(p for (m, p) in policy.TABLE if m == "GET" and not p.startswith("/v1/batches/"))


class Outside(NamedTuple):
    """Who is told things by the service: a chat server, and one that takes webhooks and traces."""

    chats: Chat
    host: LocalHost


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    monkeypatch.setenv("UPSTREAM_TOKEN", "sk-upstream-1234")
    monkeypatch.setenv("HOOK_SECRET", SECRET)

    def echo(body: dict[str, Any], _number: int) -> Reply:
        return completion(str(body["messages"][-1]["content"]))

    with chat_server(echo) as chats, local_host() as host:
        host.answer("/hook", b"ok")
        host.answer("/v1/traces", b"")
        yield Outside(chats, host)


def settings(folder: Path, outside: Outside, keep: str, mask: bool) -> None:
    """The project logs, traces, tells others and passes chats on; `mask`: before all of that, or
    never."""
    toml = folder / "feilun.toml"
    more = (SETTINGS if mask else "") + f'\n[serve.log]\nkeep = "{keep}"\n'
    more += settings_of(outside.chats.url, mask=mask)
    more += '\n[serve.telemetry]\nlog = "json"\nlog_requests = "all"\ntrace_share = 1.0\n'
    more += f'traces = "http://{outside.host.place}"\n'
    toml.write_text(toml.read_text("utf-8") + more, "utf-8")
    with_channel(folder, outside.host)


@contextmanager
def served(folder: Path, lines: io.StringIO) -> Iterator[TestClient]:
    with Project.open(folder) as project, redirect_stderr(lines):
        key = project.keys.add("canary")
        officer = project.keys.add("officer", frozenset({Scope.ERASE}))
        end = set_up(project.settings.serve.telemetry)
        app = create_app(project)
        with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
            client.headers["authorization"] = f"Bearer {key}"
            client.post("/console/sign-in", data={"key": key})
            client.app_state["officer"] = {"authorization": f"Bearer {officer}"}
            yield client
        end()


Told = dict[str, list[str]]
"""What left the service, by where it went."""


def flow(folder: Path, outside: Outside, planted: bool) -> Told:
    """Everything that left the service while the canaries went through it; `planted`: in places,
    too, that are passed on as they are, to see that they would be found."""
    lines, told = io.StringIO(), Told()
    with served(folder, lines) as client:
        answers = predicted(client, planted) + asked_for(client)
    with Project.open(folder) as project:
        turn = project.turn()
        assert turn.dataset is not None
        told["exports"] = exported(project)
        (channel,) = project.settings.serve.notify
        courier = Courier(project, channel, None, lambda: time.time() + 60.0, lambda: 0.5)
        while courier.step():
            pass
    with served(folder, lines) as client:
        answers += asked_for(client)
    told |= {
        "answers": answers,
        "lines of the log": lines.getvalue().splitlines(),
        "webhooks": [one.body.decode() for one in outside.host.asked if one.path == "/hook"],
        "batches of spans": [
            one.body.decode("utf-8", "replace")
            for one in outside.host.asked
            if one.path == "/v1/traces"
        ],
        "chats passed on": [str(body) for _headers, body in outside.chats.requests],
    }
    assert all(told.values()), {name: len(some) for name, some in told.items()}
    return told


def predicted(client: TestClient, planted: bool) -> list[str]:
    """The canaries in inputs, batches, feedback, chats and in everything that is refused."""
    named = {"idempotency-key": "once"}
    if planted:
        named["x-request-id"] = VALUES[2]
    body = {"input": TEXTS, "subject": VALUES[0]}
    said = client.post("/v1/classify", json=body, headers=named)
    assert said.status_code == 200, said.text
    answers = [said, client.post("/v1/classify", json=body, headers=named)]
    batch = "".join(json.dumps({"input": text, "subject": VALUES[0]}) + "\n" for text in TEXTS)
    typed = {"content-type": "application/jsonl"}
    taken = client.post("/v1/batches", content=batch, headers=typed)
    assert taken.status_code == 202, taken.text
    answers.append(taken)
    for text, result in zip(TEXTS, said.json()["results"], strict=True):
        note = {"prediction_id": result["id"], "subject": VALUES[0]}
        for kind, value in (("correction", "负面"), ("comment", text)):
            answers.append(client.post("/v1/feedback", json={**note, "kind": kind, "value": value}))
            assert answers[-1].status_code == 200, answers[-1].text
        for refused in ({"input": [text], "note": text}, {"input": {"text": text}}, [text]):
            answers.append(client.post("/v1/classify", json=refused))
            answers.append(client.post("/invocations", json=refused))
            answers.append(client.post("/v1/chat/completions", json=refused))
        for kind, value in (("rating", text), (text, 1)):
            answers.append(client.post("/v1/feedback", json={**note, "kind": kind, "value": value}))
        answers.append(client.post("/v1/classify", content=text.encode()))
        answers.append(client.post("/v1/erase", json={"subject": VALUES[0], "texts": [text]}))
        chat = {"model": "gpt", "messages": [{"role": "user", "content": text}], "user": VALUES[0]}
        # Not among the answers: who asks is told what they said, here and below.
        assert client.post("/v1/chat/completions", json=chat).status_code == 200
    if planted:
        note = {"prediction_id": said.json()["results"][0]["id"], "kind": "correction"}
        client.post("/v1/feedback", json={**note, "value": TEXTS[0]})
    client.get(f"/v1/{VALUES[0]}")
    until, at = time.monotonic() + 60, {"id": taken.json()["id"]}
    while client.get("/v1/batches/status", params=at).json()["status"] != "completed":
        assert time.monotonic() < until
        time.sleep(0.02)
    answers.append(client.get("/v1/batches/results", params=at))
    return [answer.text for answer in answers]


def asked_for(client: TestClient) -> list[str]:
    """Everything that can be read."""
    of_erasures = client.app_state["officer"]
    answers = [
        client.get(path, headers=of_erasures if path == "/v1/erasures" else None) for path in PAGES
    ]
    assert {answer.status_code for answer in answers} <= {200, 303}
    return [answer.text for answer in answers]


def exported(project: Project) -> list[str]:
    """What people take out of the project."""
    folder = project.root / "exported"
    export_feedback(project, folder / "feedback.csv")
    export_feedback(project, folder / "feedback.jsonl")
    project.export(folder / "model")
    found = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return [content.decode("utf-8", "replace") for content in found]


def leaks(told: Told) -> dict[str, int]:
    """How many canaries are where; nothing where there are none."""
    found = {
        name: sum(any(value in text for text in texts) for value in VALUES)
        for name, texts in told.items()
    }
    return {name: count for name, count in found.items() if count}


def in_files(folder: Path) -> dict[str, list[str]]:
    """The canaries that the project's files have, in their bytes or in the cells of tables."""
    found: dict[str, list[str]] = {}
    for path in sorted((folder / ".feilun").rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if content[:4] == b"PAR1":
            texts = pl.read_parquet(path).select(pl.col(pl.String)).to_dicts()
            content += json.dumps(texts, ensure_ascii=False).encode()
        hits = [value for value in VALUES if value.encode() in content]
        if hits:
            found[str(path.relative_to(folder))] = hits
    return found


def test_the_mask_knows_every_canary() -> None:
    """Otherwise the next test would show the mask's recall, and not what leaks."""

    class Run:
        root = Path()

        def spend(self, _amount: float, _what: str) -> None: ...

    masked = Mask().rewritten(pl.Series("text", TEXTS), Run())  # type: ignore[arg-type]
    missed = [text for text, value in zip(masked, VALUES, strict=True) if value in text]
    assert not missed, missed


@pytest.mark.parametrize("keep", ["vault", "masked"])
def test_no_canary_leaves_the_vault(
    project_folder: Path,
    outside: Outside,
    keep: str,
    evidence: Evidence,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "feilun")
    settings(project_folder, outside, keep, mask=True)
    told = flow(project_folder, outside, planted=False)
    assert leaks(told) == {}
    assert in_files(project_folder) == {}
    logged = [r.getMessage() for r in caplog.records if r.name.startswith("feilun")]
    assert leaks({"logged": logged}) == {}
    with Project.open(project_folder) as project:
        opened = {row["input"] for row in project.events.predictions(0)}
        # They are in the vault, and what was learnt of them is masked.
        assert (set(TEXTS) <= opened) == (keep == "vault")
        shards = project.get("records/latest").shards("records")
        learnt = pl.concat(pl.read_parquet(project.blobs.get(digest)) for digest in shards)
        texts = learnt.filter(pl.col("source") == "feedback")["text"].to_list()
        assert len(texts) == len(TEXTS)
        assert all(re.search(r"\[[A-Z_]+\]", text) for text in texts)
    num_files = sum(path.is_file() for path in (project_folder / ".feilun").rglob("*"))
    counts = ", ".join(f"{len(texts)} {name}" for name, texts in told.items())
    evidence(
        26,
        f"log kept as `{keep}`: of {len(VALUES)} planted values ({len(CANARIES)} kinds) "
        f"{sum(leaks(told).values())} in {counts}, {len(in_files(project_folder))} of {num_files} "
        "files with one",
    )


def test_without_mask_and_vault_they_are_found(
    project_folder: Path, outside: Outside, evidence: Evidence
) -> None:
    """The negative control: the search finds what there is to find, wherever it looks."""
    settings(project_folder, outside, "full", mask=False)
    told = flow(project_folder, outside, planted=True)
    found = in_files(project_folder)
    assert {value for hits in found.values() for value in hits} == set(VALUES)
    assert any(name.endswith(("events.db", "events.db-wal")) for name in found)
    assert any("blobs" in name for name in found)
    assert leaks(told).keys() == told.keys()
    counts = ", ".join(f"{count} in {name}" for name, count in leaks(told).items())
    evidence.control(
        26,
        f"without mask and vault, and with one planted in a request's id and one in a label: of "
        f"{len(VALUES)} values {counts}; {len(found)} files with some",
    )
