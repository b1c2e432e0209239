"""The page of the log's privacy, and erasing from it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from feilun.console import pages
from feilun.console.privacy import PrivacyPage
from feilun.service import alerting
from feilun.service.app import create_app
from feilun.store.disk import lock
from feilun.team import Scope
from feilun.wheel.project import Project

EVIL = "<script>alert('x')</script>"


def test_the_page_shows_how_texts_are_kept_and_the_receipts(trained_project: Project) -> None:
    def shown() -> str:
        answer = pages.page(PrivacyPage(), "/console/privacy", trained_project)
        return bytes(answer.body).decode()

    assert "vault" in shown()
    assert "Nobody was erased yet." in shown()
    trained_project.predict(["好"], subject="ada-4711")
    receipt = trained_project.erase("ada-4711")
    assert receipt.id in shown()
    assert "ada-4711" not in shown()


@pytest.fixture
def client(trained_project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(alerting, "FIRST_SECONDS", 3600.0)
    app = create_app(trained_project)
    with TestClient(app, base_url="http://localhost:8000", follow_redirects=False) as client:
        client.headers["origin"] = "http://localhost:8000"
        yield client


def sign_in(client: TestClient, project: Project, *scopes: Scope) -> None:
    key = project.keys.add("officer", frozenset(scopes))
    assert client.post("/console/sign-in", data={"key": key}).status_code == 303


def test_a_person_is_erased_after_a_second_yes(
    client: TestClient, trained_project: Project
) -> None:
    sign_in(client, trained_project, Scope.READ, Scope.ERASE)
    mine = trained_project.predict(["好", "电话 13800138000"], subject=EVIL)
    trained_project.predict(["好"], subject="bob")
    trained_project.feedback(mine[0].id, "rating", True)
    form = client.get("/console/privacy").text
    assert '<form class="card form wide" method="post" action="/console/privacy">' in form
    asked = {"subject": EVIL, "texts": "13800138000\r\n\r\n 李雷 "}
    again = client.post("/console/privacy", data=asked)
    assert again.status_code == 200
    assert "2 prediction(s), 0 chat(s), 1 feedback" in again.text
    assert EVIL not in again.text
    assert "&lt;script&gt;" in again.text
    assert len(trained_project.events.predictions(0)) == 3, "nothing is erased by asking"
    fields = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', again.text)
    assert [html.unescape(value) for _name, value in fields] == [EVIL, "13800138000", "李雷"]
    assert '<button class="danger" type="submit" name="sure" value="yes">' in again.text
    sure = {"subject": EVIL, "texts": ["13800138000", "李雷"], "sure": "yes"}
    done = client.post("/console/privacy", data=sure)
    (receipt,) = trained_project.erasures()
    assert (receipt.by, receipt.predictions, receipt.feedback) == ("officer", 2, 1)
    assert (done.status_code, done.headers["location"]) == (303, f"/console/privacy#{receipt.id}")
    assert [row["id"] for row in trained_project.events.predictions(0)] != []
    page = client.get("/console/privacy").text
    assert f'<tr id="{receipt.id}">' in page
    assert "officer" in page
    assert EVIL not in page
    assert "13800138000" not in page
    assert "<script" not in page


def test_it_is_said_in_chinese_too(client: TestClient, trained_project: Project) -> None:
    sign_in(client, trained_project, Scope.READ, Scope.ERASE)
    page = client.get("/console/privacy?lang=zh").text
    assert '<html lang="zh-Hans"' in page
    assert '<h2 id="erase">清除一个人的数据</h2>' in page


@pytest.mark.parametrize("data", [{}, {"subject": " ", "texts": "\n"}, {"texts": "a"}])
def test_who_is_not_named_is_not_erased(
    client: TestClient, trained_project: Project, data: dict[str, str]
) -> None:
    sign_in(client, trained_project, Scope.READ, Scope.ERASE)
    for sure in ({}, {"sure": "yes"}):
        answer = client.post("/console/privacy", data={"x": "", **data, **sure})
        assert answer.status_code == 422
        assert "feilun erase" in answer.text
    assert trained_project.erasures() == []


def test_only_a_key_that_may_erases_here(client: TestClient, trained_project: Project) -> None:
    trained_project.predict(["好"], subject="ada")
    asked = {"subject": "ada", "sure": "yes"}
    assert client.post("/console/privacy", data=asked).headers["location"] == "/console/sign-in"
    sign_in(client, trained_project, Scope.READ, Scope.PREDICT)
    assert "<textarea" not in client.get("/console/privacy").text
    refused = client.post("/console/privacy", data=asked)
    assert refused.status_code == 403
    assert "erase" in refused.text
    assert trained_project.erasures() == []


def test_a_page_of_another_site_erases_nobody(client: TestClient, trained_project: Project) -> None:
    """Its form would be sent with the cookie, were the cookie not strict; and it is refused."""
    sign_in(client, trained_project, Scope.READ, Scope.ERASE)
    asked = {"subject": "ada", "sure": "yes"}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/console/privacy", data=asked, headers=headers).status_code == 403
    assert trained_project.erasures() == []


def test_a_turn_that_runs_keeps_it_from_beginning(
    client: TestClient, trained_project: Project
) -> None:
    sign_in(client, trained_project, Scope.READ, Scope.ERASE)
    with lock(trained_project.folder / "turn.lock", what="reviews"):
        answer = client.post("/console/privacy", data={"subject": "ada", "sure": "yes"})
    assert answer.status_code == 503
    assert "<h1" in answer.text
