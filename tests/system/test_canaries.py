"""Personal data in the whole flow: seeded canaries of twelve kinds, in Chinese and in English,
go through predictions, feedback, comments, a turn, errors, metrics and the console. None may be
in any file of the project but sealed in the vault, nor in any answer."""

# ruff: noqa: E501  (texts read better in one line)
from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from starlette.testclient import TestClient

from feilun.service.app import create_app
from feilun.stages.prepare.mask import Mask
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


def settings(folder: Path, keep: str, mask: bool) -> None:
    toml = folder / "feilun.toml"
    more = (SETTINGS if mask else "") + f'\n[serve.log]\nkeep = "{keep}"\n'
    toml.write_text(toml.read_text("utf-8") + more, "utf-8")


@contextmanager
def served(folder: Path) -> Iterator[TestClient]:
    with Project.open(folder) as project:
        key = project.keys.add("canary")
        app = create_app(project)
        with TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=False) as client:
            client.headers["authorization"] = f"Bearer {key}"
            client.post("/console/sign-in", data={"key": key})
            yield client


def flow(folder: Path) -> list[str]:
    """Everything that the service answered while the canaries went through it."""
    with served(folder) as client:
        said = client.post("/v1/classify", json={"input": TEXTS, "subject": VALUES[0]})
        assert said.status_code == 200, said.text
        answers = [said]
        for text, result in zip(TEXTS, said.json()["results"], strict=True):
            note = {"prediction_id": result["id"], "subject": VALUES[0]}
            correction = {**note, "kind": "correction", "value": "负面"}
            answers.append(client.post("/v1/feedback", json=correction))
            answers.append(
                client.post("/v1/feedback", json={**note, "kind": "comment", "value": text})
            )
            assert {answer.status_code for answer in answers[-2:]} == {200}
            for body in ({"input": [text], "note": text}, {"input": {"text": text}}, [text]):
                answers.append(client.post("/v1/classify", json=body))
            answers.append(
                client.post("/v1/feedback", json={**note, "kind": "rating", "value": text})
            )
            answers.append(client.post("/v1/feedback", json={**note, "kind": text, "value": 1}))
            answers.append(client.post("/v1/classify", content=text.encode()))
        for path in ("/metrics", "/v1/models", "/console", "/openapi.json", "/readyz"):
            answers.append(client.get(path))
            assert answers[-1].status_code == 200, path
        # Not among the answers: a path that nobody knows is told back to who asked for it.
        client.get(f"/v1/{VALUES[0]}")
    with Project.open(folder) as project:
        turn = project.turn()
        assert turn.dataset is not None
    with served(folder) as client:
        answers += [client.get(path) for path in ("/console", "/console/dropped", "/metrics")]
    return [answer.text for answer in answers]


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


def test_no_canary_leaves_the_vault(project_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings(project_folder, "vault", mask=True)
    answers = flow(project_folder)
    assert in_files(project_folder) == {}
    assert [value for value in VALUES if any(value in answer for answer in answers)] == []
    # The client of the test logs what it asks for.
    logged = [r.getMessage() for r in caplog.records if not r.name.startswith("http")]
    assert [value for value in VALUES if any(value in line for line in logged)] == []
    with Project.open(project_folder) as project:
        # They are in the vault, and what was learnt of them is masked.
        opened = {row["input"] for row in project.events.predictions(0)}
        assert set(TEXTS) <= opened
        shards = project.get("records/latest").shards("records")
        learnt = pl.concat(pl.read_parquet(project.blobs.get(digest)) for digest in shards)
        texts = learnt.filter(pl.col("source") == "feedback")["text"].to_list()
        assert len(texts) == len(TEXTS)
        assert all(re.search(r"\[[A-Z_]+\]", text) for text in texts)


def test_without_the_vault_they_are_found(project_folder: Path) -> None:
    """The negative control: the search finds what there is to find."""
    settings(project_folder, "full", mask=False)
    answers = flow(project_folder)
    found = in_files(project_folder)
    assert {value for hits in found.values() for value in hits} == set(VALUES)
    assert any(name.endswith(("events.db", "events.db-wal")) for name in found)
    assert any("blobs" in name for name in found)
    assert any(value in answer for value in VALUES for answer in answers)
