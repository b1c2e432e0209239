"""Erasing through the API, people named in requests, and the retention thread."""

from __future__ import annotations

import time

from feilun.service.retention import Retention
from feilun.team import Scope
from feilun.wheel.project import Project

from .conftest import Running

SECRET = "canary 4711"


def test_a_person_is_named_predicted_and_erased(running: Running) -> None:
    body = {"input": [SECRET, "好"], "subject": "ada"}
    said = running.client.post("/v1/classify", json=body).json()
    note = {"prediction_id": said["results"][0]["id"], "kind": "comment", "value": SECRET}
    assert running.client.post("/v1/feedback", json={**note, "subject": "ada"}).status_code == 200
    key = running.project.keys.add("officer", frozenset({Scope.ERASE}))
    asked = {"subject": "ada"}
    answer = running.client.post(
        "/v1/erase", json=asked, headers={"authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["predictions"], told["feedback"]) == (2, 1)
    assert "ada" not in answer.text
    left = [row["input"] for row in running.project.events.predictions(0)]
    assert SECRET not in left
    listed = running.client.get("/v1/erasures", headers={"authorization": f"Bearer {key}"})
    assert listed.json() == {"object": "list", "data": [told]}
    # The service goes on.
    assert running.client.post("/v1/classify", json=body).status_code == 200


def test_an_ordinary_key_may_not_erase(running: Running) -> None:
    answer = running.client.post("/v1/erase", json={"subject": "ada"})
    assert answer.status_code == 403
    assert running.client.get("/v1/erasures").status_code == 403
    assert Scope.ERASE not in running.project.keys.check(running.key).scopes


def test_an_erasure_without_anybody_is_refused(running: Running) -> None:
    key = running.project.keys.add("officer", frozenset({Scope.ERASE}))
    headers = {"authorization": f"Bearer {key}"}
    for body in ({}, {"texts": ["a"]}, {"subject": ""}):
        assert running.client.post("/v1/erase", json=body, headers=headers).status_code == 422


def test_the_service_removes_what_is_old_by_itself(trained_project: Project) -> None:
    toml = trained_project.root / "feilun.toml"
    toml.write_text(toml.read_text("utf-8") + "\n[serve.log]\ninput_days = 1\n", "utf-8")
    with Project.open(trained_project.root) as project:
        project.predict([SECRET, "好"])
        with project.events.database.write() as connection:
            connection.exec_driver_sql("UPDATE predictions SET at = at - 200000")
        retention = Retention(project, first_seconds=0.0)
        retention.start()
        try:
            end = time.monotonic() + 20
            while any(row["input"] for row in project.events.predictions(0)):
                assert time.monotonic() < end, "the thread never ran"
                time.sleep(0.02)
        finally:
            retention.close()
