"""A cascade served: who answers, what is asked of others, what waits for a person."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient

from feilun.console import pages
from feilun.console.serve import ServePage
from feilun.models.levels import Levelled, Routed
from feilun.service.app import create_app
from feilun.service.computing import Further
from feilun.stages.serve import Beyond
from feilun.tasks.task import Input
from feilun.wheel.project import Project
from feilun.wheel.queue import waiting
from tests.unit.core.chat_server import Reply, chat_server, said

from .conftest import Running

LABELS = ("正面", "负面")


class InLevels(Levelled):
    """Two levels: the first is sure of short texts, of those with `?` nobody is."""

    labels = LABELS
    names = ("0-cheap", "1-dear")

    def scores(self, inputs: Sequence[Input]) -> np.ndarray:
        return self.routed(inputs).scores

    def last(self, inputs: Sequence[Input]) -> np.ndarray:
        return self.routed(inputs).scores

    def routed(self, inputs: Sequence[Input], *, leaves: bool = False) -> Routed:
        bad = np.array(["差" in text for text in inputs])
        rows = np.where(bad[:, None], [[0.1, 0.9]], [[0.9, 0.1]]).astype(np.float32)
        levels = [0 if len(t) < 4 else 2 if leaves and "?" in t else 1 for t in inputs]
        return Routed(rows, np.array(levels), np.zeros(len(inputs)))


def served(running: Running, **beyond: Any) -> None:
    """Lets the running service answer in levels, with these after them."""
    live = running.service.live
    live.engine.swap(str(live.engine.model), InLevels())
    live.further = Further(live.task, Beyond.model_validate(beyond))


def ask(running: Running, *texts: str) -> list[dict[str, Any]]:
    answer = running.client.post("/v1/classify", json={"input": list(texts)})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def logged(running: Running) -> list[tuple[Any, ...]]:
    with running.project.events.database.read() as connection:
        rows = connection.execute(
            sa.text("SELECT route, level, label, cost FROM predictions ORDER BY seq")
        )
        return [tuple(row) for row in rows]


def test_without_anybody_after_it_the_cascade_answers_all(running: Running) -> None:
    served(running)
    found = ask(running, "好", "服务差差差", "不知道好不好?")
    assert [one["label"] for one in found] == ["正面", "负面", "正面"]
    assert [row[:2] for row in logged(running)] == [("cascade", 0), ("cascade", 1), ("cascade", 1)]


def test_what_nobody_is_sure_of_waits_for_a_person(running: Running) -> None:
    served(running, person=True, person_price=0.5)
    sure, open_, empty = ask(running, "好", "不知道好不好?", " … ??? ")
    assert sure["label"] == "正面"
    assert (open_["label"], open_["score"], open_["reason"]) == (None, 0.0, "person")
    # A person could judge by nothing either.
    assert empty["reason"] == "empty"
    assert [(row[1], row[3]) for row in logged(running)] == [(0, 0.0), (3, 0.5), (1, 0.0)]
    answer = running.client.get("/v1/queue")
    assert answer.status_code == 200
    queue = answer.json()
    assert (queue["waiting"], len(queue["data"])) == (1, 1)
    assert queue["data"][0]["id"] == open_["id"]
    assert queue["data"][0]["input"] == "不知道好不好?"
    told = {"prediction_id": open_["id"], "kind": "comment", "value": "hm"}
    assert running.client.post("/v1/feedback", json=told).status_code == 200
    assert running.client.get("/v1/queue").json()["waiting"] == 1
    right = {"prediction_id": open_["id"], "kind": "correction", "value": "负面"}
    assert running.client.post("/v1/feedback", json=right).status_code == 200
    assert running.client.get("/v1/queue").json() == {"object": "list", "waiting": 0, "data": []}


def test_the_queue_needs_the_scope_read(running: Running, predict_only: str) -> None:
    headers = {"authorization": f"Bearer {predict_only}"}
    assert running.client.get("/v1/queue", headers=headers).status_code == 403


def test_an_endpoint_is_asked_before_a_person(running: Running) -> None:
    def reply(body: dict[str, Any], _number: int) -> Reply:
        text = body["messages"][1]["content"]
        assert "«正面», «负面»" in body["messages"][0]["content"]
        return said("负面" if "坏" in text else "I would rather not say")

    with chat_server(reply) as chat:
        served(running, person=True, endpoint={"endpoint": chat.url, "model": "m", "price": 1e6})
        good, bad, odd = ask(running, "好好好好好", "坏了没有呢?", "谁知道呢?")
    assert good["label"] == "正面"
    assert (bad["label"], bad["score"], bad["reason"]) == ("负面", 1.0, None)
    assert (odd["label"], odd["reason"]) == (None, "person")
    assert len(chat.requests) == 2
    levels = [row[1] for row in logged(running)]
    assert levels == [1, 2, 3]
    # What it said of the third was paid for, of use or not.
    assert all(row[3] > 0 for row in logged(running)[1:])


def test_where_the_endpoint_fails_the_last_member_has_the_last_word(running: Running) -> None:
    level = {"endpoint": "http://127.0.0.1:9/v1", "model": "m", "timeout_seconds": 0.5}
    served(running, endpoint=level)
    (found,) = ask(running, "不知道好不好?")
    assert (found["label"], found["reason"]) == ("正面", None)
    assert logged(running)[0][:2] == ("cascade", 1)


def test_a_slow_endpoint_is_not_waited_for(running: Running) -> None:
    go = threading.Event()

    def reply(_body: dict[str, Any], _number: int) -> Reply:
        go.wait(20)
        return said("负面")

    with chat_server(reply) as chat:
        level = {"endpoint": chat.url, "model": "m", "timeout_seconds": 0.3}
        served(running, person=True, endpoint=level)
        try:
            (found,) = ask(running, "不知道好不好?")
        finally:
            go.set()
    assert found["reason"] == "person"


CASCADE = """
[train.model]
architecture = "cascade"
risk = 0.3
members = [
    { architecture = "ngram", bits = 14, max_chars = 1 },
    { architecture = "ngram", bits = 14 },
]
"""


def test_a_cascade_is_trained_judged_and_served_like_any_model(trained_project: Project) -> None:
    root = trained_project.root
    path = root / "feilun.toml"
    text = path.read_text(encoding="utf-8").replace('model.architecture = "ngram"', "")
    path.write_text(text + CASCADE + "\n[serve]\ncascade.person = true\n", encoding="utf-8")
    with Project.open(root) as project:
        turn = project.turn(until="evaluate")
        assert turn.model is not None
        assert turn.report is not None
        assert turn.model.architecture == "cascade"
        figures = turn.report.metrics
        shares = [figures[f"share.{name}"].value for name in ("0-ngram", "1-ngram")]
        assert sum(shares) == pytest.approx(1)
        assert figures["excess_error"].value <= 0.3
        live = project.control.alias("live")
        assert live is not None
        project.control.move_alias(
            "live", turn.model.digest, expected=live.digest, by="t", reason='{"template":"t"}'
        )
        key = project.keys.add("test")
        with TestClient(create_app(project), base_url="http://127.0.0.1:8000") as client:
            client.headers["authorization"] = f"Bearer {key}"
            texts = [f"{t} {n}" for n in range(20) for t in ("物流很快，包装也好", "天地玄黄")]
            answer = client.post("/v1/classify", json={"input": texts})
            assert answer.status_code == 200
        told = project.predict(["物流很快，包装也好"])
        assert told[0].label in turn.model.labels
        left = [one for one in answer.json()["results"] if one["reason"] == "person"]
        assert waiting(project).waiting == len(left)
        values = ServePage().values(project)
        assert values["test"].excess == figures["excess_error"]
        assert sum(one.number for one in values["served"]) == len(texts) + len(told)
        shown = bytes(pages.page(ServePage(), "/console/serve", project).body).decode()
        assert "0-ngram" in shown
