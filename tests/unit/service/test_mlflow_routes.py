"""MLflow's routes, held against MLflow's own scoring server on the exported model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from feilun.wheel.project import Project

from .conftest import Running

TEXTS = ["服务很好，推荐", "太差了，退款", "…", "I love this phone, works great"]
FORMS: list[dict[str, Any]] = [
    {"inputs": {"text": TEXTS}},
    {"dataframe_split": {"columns": ["text"], "data": [[text] for text in TEXTS]}},
    {"dataframe_split": {"columns": ["n", "text"], "data": [["1", text] for text in TEXTS]}},
    {"dataframe_records": [{"text": text} for text in TEXTS]},
    {"instances": [{"text": text} for text in TEXTS]},
    {"inputs": {"text": TEXTS}, "params": {"a": 1}},
]


@pytest.fixture
def scoring_server(trained_project: Project, tmp_path: Path) -> Iterator[TestClient]:
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    scoring_server = pytest.importorskip("mlflow.pyfunc.scoring_server")
    model = pyfunc.load_model(str(trained_project.export(tmp_path / "model", "mlflow")))
    with TestClient(scoring_server.init(model)) as client:
        yield client


@pytest.mark.parametrize("body", FORMS, ids="-".join)
def test_answers_are_those_of_mlflows_own_server(
    running: Running, scoring_server: TestClient, body: dict[str, Any]
) -> None:
    theirs = scoring_server.post("/invocations", json=body)
    assert theirs.status_code == 200, theirs.text
    ours = running.client.post("/invocations", json=body)
    assert ours.status_code == 200, ours.text
    found, wanted = ours.json()["predictions"], theirs.json()["predictions"]
    assert len(found) == len(wanted) == len(TEXTS)
    for one, other in zip(found, wanted, strict=True):
        assert one.keys() == other.keys()
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
        assert json.loads(one["scores"]) == pytest.approx(json.loads(other["scores"]), abs=1e-6)
        # A table of pandas has NaN for what is missing, which is no JSON.
        missing = {name for name, value in other.items() if value != value}
        for name in ("label", "reason"):
            assert one[name] == (None if name in missing else other[name])


def test_health_is_answered_as_mlflows_server_does(
    running: Running, scoring_server: TestClient
) -> None:
    for path in ("/ping", "/health", "/version"):
        theirs = scoring_server.get(path)
        ours = running.client.get(path, headers={"authorization": ""})
        assert (ours.status_code, theirs.status_code) == (200, 200)
    running.service.live.draining = True
    for path in ("/ping", "/health"):
        answer = running.client.get(path)
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


def test_every_prediction_is_durable_and_takes_feedback(running: Running) -> None:
    answer = running.client.post("/invocations", json={"inputs": TEXTS[:2]}).json()
    rows = {row["id"]: row for row in running.project.events.predictions(0)}
    assert [rows[i]["input"] for i in answer["prediction_ids"]] == TEXTS[:2]
    assert {row["key"] for row in rows.values()} == {running.key.split("_")[1]}
    told = {"prediction_id": answer["prediction_ids"][0], "kind": "rating", "value": 1}
    assert running.client.post("/v1/feedback", json=told).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"inputs": ["a"], "instances": ["a"]}, "body"),
        ({"inputs": []}, "inputs"),
        ({"inputs": 3}, "inputs"),
        ({"inputs": {"text": [1]}}, "inputs[0]"),
        ({"inputs": {"text": ["a"], "more": ["a", "b"]}}, "inputs"),
        ({"inputs": {"texts": ["a"]}}, "inputs[0]"),
        ({"instances": [{"words": "a"}]}, "instances[0]"),
        ({"instances": ["a", ["a", "b"]]}, "instances[1]"),
        ({"dataframe_split": {"columns": ["text"]}}, "dataframe_split"),
        ({"dataframe_split": {"columns": ["text"], "data": [["a", "b"]]}}, "dataframe_split"),
        ({"dataframe_split": {"columns": "text", "data": [["a"]]}}, "dataframe_split"),
        ({"dataframe_split": {"data": "a"}}, "dataframe_split"),
        ({"dataframe_records": {"text": "a"}}, "dataframe_records"),
        ({"dataframe_records": [{"text": None}]}, "dataframe_records[0]"),
        ({"input": "a"}, "input"),
    ],
)
def test_what_is_no_table_of_texts_is_refused_by_its_place(
    running: Running, body: dict[str, Any], field: str
) -> None:
    answer = running.client.post("/invocations", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["error"]["fields"][0]["field"] == field


def test_lone_surrogates_are_replaced(running: Running) -> None:
    answer = running.client.post("/invocations", content=b'{"inputs": ["\\ud800 good"]}', headers={
        "content-type": "application/json"
    })  # fmt: skip
    assert answer.status_code == 200
