from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from feilun.console import wheel
from feilun.console.session import TRIES, Sessions
from feilun.core.artifacts import Interval, Model
from feilun.core.stage import STAGES
from feilun.service.app import create_app
from feilun.store.disk import lock
from feilun.team import Limits, Scope
from feilun.wheel.project import Project

EVIL = "<script>alert('x')</script>"


@pytest.fixture
def client(trained_project: Project) -> Iterator[TestClient]:
    with TestClient(create_app(trained_project), base_url="http://localhost:8000") as client:
        yield client


def sign_in(client: TestClient, key: str) -> int:
    answer = client.post("/console/sign-in", data={"key": key}, follow_redirects=False)
    return answer.status_code


def test_only_who_signed_in_sees_it(client: TestClient, trained_project: Project) -> None:
    answer = client.get("/", follow_redirects=True)
    assert answer.url.path == "/console/sign-in"
    key = trained_project.keys.add("ann")
    assert sign_in(client, key) == 303
    cookie = client.cookies.jar.__iter__().__next__()
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite", "").lower() == "strict"
    assert key.split("_")[2] not in (cookie.value or "")
    page = client.get("/console", follow_redirects=False)
    assert page.status_code == 200
    for stage in STAGES:
        assert stage in page.text
    trained_project.keys.revoke(key.split("_")[1])
    assert client.get("/console", follow_redirects=False).status_code == 303


def test_sign_out(client: TestClient, trained_project: Project) -> None:
    sign_in(client, trained_project.keys.add("ann"))
    answer = client.post("/console/sign-out", data={"x": ""}, follow_redirects=False)
    assert answer.headers["location"] == "/console/sign-in"
    assert client.get("/console", follow_redirects=False).status_code == 303


def test_wrong_keys_are_refused_and_then_slowed_down(
    client: TestClient, trained_project: Project
) -> None:
    scoped = trained_project.keys.add("predict", frozenset({Scope.PREDICT}))
    assert sign_in(client, scoped) == 403
    for _try in range(TRIES - 1):
        assert sign_in(client, "fw_nope_nope") == 401
    answer = client.post("/console/sign-in", data={"key": trained_project.keys.add("ann")})
    assert answer.status_code == 429


def test_forged_sessions_are_refused(client: TestClient, trained_project: Project) -> None:
    sessions = Sessions(trained_project)
    key = trained_project.keys.add("ann")
    value = sessions.sign_in(key, "here")
    for forged in (value[:-1], key.split("_")[1], value.replace(".", "..", 1), "", "ÿ", "x" * 9000):
        client.cookies.clear()
        headers = {"cookie": f"{sessions.cookie}={forged}".encode("latin-1")}
        answer = client.get("/console", headers=headers, follow_redirects=False)  # type: ignore[arg-type]
        assert answer.status_code == 303


def test_sessions_end_after_twelve_hours(
    trained_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    sessions = Sessions(trained_project)
    value = sessions.sign_in(trained_project.keys.add("ann"), "here")
    assert sessions._check({sessions.cookie: value}) is not None
    later = time.time() + 12 * 3600 + 2
    monkeypatch.setattr(time, "time", lambda: later)
    assert sessions._check({sessions.cookie: value}) is None


def test_what_users_typed_is_inert(client: TestClient, trained_project: Project) -> None:
    answered = trained_project.predict([f"{EVIL} 质量不错，推荐耳机"])[0]
    trained_project.feedback(answered.id, "correction", EVIL, source=EVIL)
    sign_in(client, trained_project.keys.add(EVIL))
    page = client.get("/console").text
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3
    problem = client.get(f"/console/{EVIL}", headers={"accept": "text/html"})
    assert problem.status_code == 404
    assert "<script" not in problem.text


def test_no_script_and_no_style_inside(client: TestClient, trained_project: Project) -> None:
    sign_in(client, trained_project.keys.add("ann"))
    for path in ("/console", "/docs", "/console/sign-in"):
        page = client.get(path).text
        assert "<script" not in page
        assert not re.search(r"\son\w+=|\sstyle=|<style", page)
        assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)


def test_the_language_is_chosen_and_remembered(client: TestClient) -> None:
    assert 'lang="en"' in client.get("/console/sign-in", headers={"accept-language": "en"}).text
    assert 'lang="zh-Hans"' in client.get("/console/sign-in?lang=zh").text
    assert '<html lang="zh-Hans"' in client.get("/console/sign-in").text
    assert '<html lang="en"' in client.get("/console/sign-in?lang=en").text
    assert '<html lang="en"' in client.get("/docs", headers={"accept-language": "zh"}).text


def test_a_project_without_turns_has_a_page(client: TestClient, trained_project: Project) -> None:
    with trained_project.control.database.write() as connection:
        for table in ("steps", "aliases", "turns"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    sign_in(client, trained_project.keys.add("ann"))
    page = client.get("/console")
    assert page.status_code == 200
    assert "feilun turn" in page.text


def test_the_geometry() -> None:
    drawn = wheel.segments(8)
    assert len({segment.path for segment in drawn}) == 8
    assert all(0 <= v <= wheel.SIZE for segment in drawn for v in (segment.x, segment.y))
    ends = wheel.scale([Interval(0.84, 0.82, 0.86), Interval(0.9, 0.88, 0.92)])
    assert ends[0] < 0.82
    assert ends[1] > 0.92
    bar = wheel.bar(Interval(0.84, 0.82, 0.86), ends)
    assert 0 < bar.low < bar.value < bar.high < 100
    assert wheel.scale([]) == (0.0, 1.0)
    assert wheel.scale([Interval(1.0, 1.0, 1.0)])[1] == 1.0


def test_the_dropped_records_are_shown_with_their_reasons(
    client: TestClient, trained_project: Project
) -> None:
    assert client.get("/console/dropped", follow_redirects=False).status_code == 303
    source = trained_project.settings.collect.sources[0].model_dump()["path"]
    path = trained_project.root / source
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines, lines[1]]) + "\n", encoding="utf-8")
    trained_project.turn(until="prepare")
    sign_in(client, trained_project.keys.add("ann"))
    page = client.get("/console/dropped")
    assert page.status_code == 200
    assert "duplicate" in page.text
    dropped = trained_project.dropped()
    assert dropped.height == 1
    assert source in page.text


def test_what_training_logged_is_drawn(client: TestClient, trained_project: Project) -> None:
    assert client.get("/console/train", follow_redirects=False).status_code == 303
    sign_in(client, trained_project.keys.add("ann"))
    newest = trained_project.get("model/latest")
    assert isinstance(newest, Model)
    assert newest.short in client.get("/console/train").text
    log = trained_project.folder / "work" / "train-1" / "0-cnn" / "metrics.jsonl"
    log.parent.mkdir(parents=True)
    rows = [{"metric": "loss", "value": 1 / (n + 1), "step": n} for n in range(5)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "under way" not in client.get("/console/train").text
    with lock(trained_project.folder / "turn.lock", what="reviews"):
        page = client.get("/console/train").text
    assert "under way" in page
    assert "<svg" in page
    assert "<script" not in page
    assert "0-cnn" in page


def test_the_usage_page_says_who_used_how_much(
    client: TestClient, trained_project: Project
) -> None:
    sign_in(client, trained_project.keys.add(EVIL, limits=Limits(monthly=9)))
    trained_project.predict(["推荐耳机", "terrible lamp"])
    text = client.get("/console/usage").text
    assert EVIL not in text
    assert "this machine, without a key" in text
    assert re.search(r'data-label="left this month" class="num">9<', text)
    assert re.search(r'data-label="predictions" class="num">2<', text)
    assert "terrible" not in text
