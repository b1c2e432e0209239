"""What the API and the console tell of the signals and of the weakest slices."""

from __future__ import annotations

from tests.unit.service.conftest import Running

EVIL = "<script>alert(1)</script>"


def test_signals_and_slices_are_answered(running: Running) -> None:
    for number in range(40):
        answer = running.project.predict([f"质量不错 {EVIL} {number}"])[0]
        if number % 4 == 0:
            running.project.feedback(answer.id, "rating", False, source=EVIL)
    answer = running.client.get("/v1/monitor")
    assert answer.status_code == 200
    names = {one["name"]: one for one in answer.json()["data"]}
    assert names["inputs.distance"]["threshold"] > 0
    assert names["inputs.distance"]["detector"] == "inputs"
    assert running.client.get("/v1/monitor?hours=1").status_code == 200
    found = running.client.get("/v1/monitor/weakest?days=1").json()
    assert (found["answers"], found["judged"], found["wrong"]) == (40, 10, 10)


def test_odd_stretches_of_time_are_refused(running: Running) -> None:
    for path in ("/v1/monitor?hours=", "/v1/monitor/weakest?days="):
        for value in ("0", "-1", "nan", "inf", "x", "1e9"):
            assert running.client.get(path + value).status_code == 422, (path, value)


def test_only_who_may_read_sees_them(running: Running, predict_only: str) -> None:
    for path in ("/v1/monitor", "/v1/monitor/weakest"):
        headers = {"authorization": f"Bearer {predict_only}"}
        assert running.client.get(path, headers=headers).status_code == 403
        assert running.client.get(path, headers={"authorization": ""}).status_code == 401


def test_the_page_is_inert(running: Running) -> None:
    for number in range(60):
        answer = running.project.predict([f"质量不错 {EVIL if number % 2 else ''} {number}"])[0]
        if number % 2:
            running.project.feedback(answer.id, "rating", False, source=EVIL)
        else:
            running.project.feedback(answer.id, "rating", True, source="bob")
    headers = {"authorization": ""}
    assert running.client.get("/console/monitor", headers=headers).status_code == 303
    signed = running.client.post("/console/sign-in", data={"key": running.key}, headers=headers)
    assert signed.status_code == 303
    page = running.client.get("/console/monitor", headers=headers)
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "&lt;script&gt;" in page.text
    for heading in ("The weakest slices", "Wrong more often than the rest"):
        assert f">{heading}</h" in page.text
