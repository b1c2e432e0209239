"""The console in a real browser: without JavaScript, in both languages, without the network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.service_process import serving

from feilun.core.stage import STAGES
from feilun.wheel.project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

pytestmark = pytest.mark.browser
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
]
EVIL = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        reason = "no Chromium on this machine: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def site(
    trained_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The address and a key of a server whose data is full of markup."""
    root = Path(shutil.copytree(trained_template, tmp_path_factory.mktemp("site") / "reviews"))
    with Project.open(root) as project:
        answered = project.predict([f"{EVIL} 质量不错", "太差了，耳机坏了", ""])
        project.feedback(answered[0].id, "correction", EVIL, source=EVIL)
        project.feedback(answered[1].id, "comment", "说得对")
        key = project.keys.add(EVIL)
    with serving(root) as server:
        yield server.url, key


class Visit:
    """A page on which every console message, failed request and foreign address is noted."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.messages: list[str] = []
        self.foreign: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("requestfailed", self._failed)
        self.page.on(
            "request",
            lambda request: (
                None if request.url.startswith(url) else self.foreign.append(request.url)
            ),
        )

    def _failed(self, request: Request) -> None:
        # A picture still on its way when the page is left is no failure.
        if request.failure != "net::ERR_ABORTED":
            self.messages.append(request.url)

    def check(self) -> None:
        # Chromium advises a user name beside every password; a key has none.
        serious = [m for m in self.messages if "[DOM]" not in m]
        assert not serious
        assert not self.foreign


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/console")
    assert page.url == f"{url}/console/sign-in"
    page.fill("#key", key)
    page.click(".form button")
    assert page.url == f"{url}/console"


@pytest.mark.parametrize("javascript", [False, True])
@pytest.mark.parametrize(("locale", "other"), [("en-GB", "zh"), ("zh-CN", "en")])
def test_the_console_works(
    browser: Browser, site: tuple[str, str], javascript: bool, locale: str, other: str
) -> None:
    url, key = site
    context = browser.new_context(java_script_enabled=javascript, locale=locale)
    visit = Visit(context, url)
    page = visit.page
    sign_in(page, url, key)
    assert page.locator(".wheel .segment").count() == len(STAGES)
    assert page.locator(".turns tbody tr").count() == 1
    assert page.locator(".turns .interval").count() == 1
    assert page.locator(".feedback tbody tr").count() == 2
    assert page.locator("main script, main img").count() == 0
    assert "owned" not in page.title()
    here = page.locator("html").get_attribute("lang")
    page.click(".lang")
    assert page.locator("html").get_attribute("lang") != here
    page.goto(f"{url}/console")
    assert str(page.locator("html").get_attribute("lang")).startswith(other)
    page.click(".quiet")
    assert page.url == f"{url}/console/sign-in"
    page.goto(f"{url}/console")
    assert page.url == f"{url}/console/sign-in"
    visit.check()
    context.close()


def test_the_docs_work_without_the_network(browser: Browser, site: tuple[str, str]) -> None:
    url, _key = site
    context = browser.new_context(java_script_enabled=False)
    visit = Visit(context, url)
    visit.page.goto(f"{url}/docs")
    assert visit.page.locator(".op").count() >= 6
    assert visit.page.locator("code", has_text="/v1/classify").count()
    visit.check()
    context.close()


def test_the_policy_would_be_seen_if_it_were_broken(
    browser: Browser, site: tuple[str, str]
) -> None:
    """The negative control: what the other tests count does occur."""
    url, _key = site
    context = browser.new_context()
    visit = Visit(context, url)
    visit.page.goto(f"{url}/docs")
    visit.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">x</p>')"
    )
    with pytest.raises(AssertionError):
        visit.check()
    context.close()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out(browser: Browser, site: tuple[str, str], width: int) -> None:
    url, key = site
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    sign_in(page, url, key)
    for path in ("/console", "/docs"):
        page.goto(url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    context.close()
