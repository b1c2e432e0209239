from __future__ import annotations

import json
import sqlite3
import time
from typing import Any

import pytest

from feilun.core.errors import DiskFull
from feilun.service.failures import PER_SECOND
from feilun.stages.serve import Overloaded

from .conftest import Running


def classify(running: Running, given: Any) -> dict[str, Any]:
    answer = running.client.post("/v1/classify", json={"input": given})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_prediction_is_durable_before_it_is_answered(running: Running) -> None:
    said = classify(running, ["质量不错，推荐耳机", "terrible lamp, broke after a day"])
    assert [result["label"] for result in said["results"]] == ["正面", "负面"]
    assert said["model"].startswith("sha256:")
    with sqlite3.connect(running.project.folder / "events.db") as other:
        rows = dict(
            other.execute("SELECT id, label FROM predictions WHERE request = ?", [said["id"]])
        )
    other.close()
    assert rows == {result["id"]: result["label"] for result in said["results"]}


def test_every_probability_is_logged(running: Running) -> None:
    said = classify(running, ["质量不错，推荐耳机", ""])
    logged = {row["id"]: row["scores"] for row in running.project.events.predictions(0.0)}
    for result in said["results"]:
        assert json.loads(logged[result["id"]]) == pytest.approx(result["scores"], abs=6e-5)


@pytest.mark.parametrize("text", ["", "   ", "。。。", "\u200b", "\x00"])
def test_nothing_to_judge_by_gets_no_label(running: Running, text: str) -> None:
    result = classify(running, text)["results"][0]
    assert (result["label"], result["score"], result["reason"]) == (None, 0.0, "empty")


def test_halves_of_characters_are_replaced(running: Running) -> None:
    body = b'{"input": ["\\ud800 \xe5\xa5\xbd", "\\ud83d\\ude00"]}'
    answer = running.client.post(
        "/v1/classify", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200
    inputs = [row["input"] for row in running.project.events.predictions(0)]
    assert inputs == ["😀", "\ufffd 好"]


def test_limits_are_named_with_their_setting(running: Running) -> None:
    serve = running.project.settings.serve
    for given, setting in (
        (["x"] * (serve.max_inputs + 1), "[serve] max_inputs"),
        ("x" * (serve.max_chars + 1), "[serve] max_chars"),
    ):
        answer = running.client.post("/v1/classify", json={"input": given})
        assert answer.status_code == 422
        assert setting in answer.json()["error"]["message"]
    answer = running.client.post("/v1/classify", json={"input": "x" * (serve.max_body_bytes)})
    assert answer.status_code == 413
    assert "[serve] max_body_bytes" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("kind", "value", "status"),
    [
        ("rating", 1, 200), ("rating", True, 200), ("rating", 1.5, 422), ("rating", "good", 422),
        ("correction", "负面", 200), ("correction", "", 422), ("correction", 3, 422),
        ("outcome", "returned", 200), ("outcome", 12.5, 200), ("outcome", 10**400, 422),
        ("outcome", None, 422), ("outcome", [], 422), ("comment", "\udc00", 200),
        ("praise", "x", 422),
    ],
)  # fmt: skip
def test_feedback_fits_its_kind(running: Running, kind: str, value: Any, status: int) -> None:
    identity = classify(running, "推荐耳机")["results"][0]["id"]
    body = {"prediction_id": identity, "kind": kind, "value": value}
    answer = running.client.post(
        "/v1/feedback", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == status, answer.text


def test_feedback_says_who_and_is_recorded_once(running: Running) -> None:
    identity = classify(running, "推荐耳机")["results"][0]["id"]
    body = {
        "prediction_id": identity,
        "kind": "correction",
        "value": "负面",
        "idempotency_key": "k",
    }
    first = running.client.post("/v1/feedback", json=body)
    again = running.client.post("/v1/feedback", json=body)
    assert first.json() == again.json()
    other = running.client.post("/v1/feedback", json={**body, "value": "正面"})
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_reused")
    row = running.project.events.latest_feedback()[0]
    assert (row["source"], row["value"]) == ("test", "负面")


def test_an_unknown_prediction_is_told_in_the_language_of_the_request(running: Running) -> None:
    body = {"prediction_id": "p_nope", "kind": "rating", "value": 1}
    answer = running.client.post("/v1/feedback", json=body)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "prediction_not_found"
    assert "p_nope" in answer.json()["error"]["message"]


def test_models_are_listed_with_what_is_live(running: Running) -> None:
    said = running.client.get("/v1/models").json()
    assert said["object"] == "list"
    (entry,) = said["data"]
    assert entry["live"] is True
    assert (entry["object"], entry["number"], entry["architecture"]) == ("model", 1, "ngram")
    assert entry["metrics"]["accuracy"]["low"] <= entry["metrics"]["accuracy"]["value"]
    assert abs(entry["created"] - time.time()) < 3600


def test_metrics_count_requests_and_labels(running: Running) -> None:
    classify(running, ["推荐耳机", ""])
    running.client.get("/nowhere")
    text = running.client.get("/metrics").text
    assert 'feilun_requests_total{method="POST",route="/v1/classify",status="200"} 1.0' in text
    assert 'feilun_requests_total{method="GET",route="other",status="404"} 1.0' in text
    assert 'feilun_predictions_total{label=""} 1.0' in text
    assert "feilun_queue_length 0.0" in text
    assert "feilun_ready 1.0" in text
    assert 'feilun_live_model_info{architecture="ngram",digest="sha256:' in text


def test_failures_are_kept_for_monitor(running: Running) -> None:
    running.client.post("/v1/classify", json={})
    running.client.get("/v1/models", headers={"authorization": ""})
    running.client.get("/nowhere")
    time.sleep(0.2)
    rows = running.project.events.failures(0)
    assert [(row["route"], row["status"], row["code"]) for row in reversed(rows)] == [
        ("/v1/classify", 422, "invalid_fields"),
        ("/v1/models", 401, "no_key"),
    ]


def test_a_flood_of_failures_does_not_fill_the_log(running: Running) -> None:
    for _number in range(300):
        running.service.failures.note("/v1/classify", 401, "no_key")
    time.sleep(0.2)
    assert len(running.project.events.failures(0)) <= 100


def test_failures_told_together_are_kept_up_to_the_same_bound(running: Running) -> None:
    failures = running.service.failures
    while time.time() % 1 > 0.5:  # all within one second
        time.sleep(0.05)
    failures.note("/v1/classify", 503, "overloaded", 7)
    failures.note("/v1/classify", 503, "overloaded", 1000)
    failures.note("/v1/classify", 503, "overloaded")
    time.sleep(0.2)
    assert len(running.project.events.failures(0)) == PER_SECOND


def test_overload_is_answered_with_retry_after(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_given: object, **_named: object) -> None:
        raise Overloaded(1)

    monkeypatch.setattr(running.service.live.engine, "submit", full)
    answer = running.client.post("/v1/classify", json={"input": "x"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_full_disk_is_507_and_unready_until_there_is_room(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import Future

    def full(_events: object) -> Future[list[str]]:
        future: Future[list[str]] = Future()
        future.set_exception(DiskFull("/secret/path/events.db"))
        return future

    with monkeypatch.context() as patch:
        patch.setattr(running.project.events, "submit", full)
        answer = running.client.post("/v1/classify", json={"input": "x"})
    assert answer.status_code == 507
    assert "/secret" not in answer.text
    assert running.client.get("/readyz").status_code == 503
    running.service.live._probe()
    assert running.client.get("/readyz").status_code == 200


def test_what_is_not_foreseen_is_told_without_internals(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_given: object, **_named: object) -> None:
        raise ZeroDivisionError("secret text")

    monkeypatch.setattr(running.service.live.engine, "submit", broken)
    answer = running.client.post("/v1/classify", json={"input": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text + caplog.text
    assert "ZeroDivisionError" in caplog.text
