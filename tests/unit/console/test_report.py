"""The report is one file that needs nothing else, and the console shows the same."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from feilun.console import charts
from feilun.console.prepare import PreparePage, write_report
from feilun.core.i18n import speak
from feilun.wheel.project import Project
from tests.conftest import sentences, write_project

NASTY = "<script>alert(1)</script> & <b>坏</b>"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    rows = sentences(200)
    rows += [(NASTY, "正面")] * 3
    project = Project.open(write_project(tmp_path_factory.mktemp("report") / "reviews", rows))
    project.turn(until="prepare")
    return project


class Links(HTMLParser):
    """Everything that a page would load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "iframe", "object", "link", "img"}:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or (name in {"src", "href"} and value and "#" not in value):
                self.found.append(f"{tag} {name}={value}")


@pytest.mark.parametrize(("lang", "word"), [("en", "From raw to kept"), ("zh", "从原始到保留")])
def test_the_report_stands_alone_in_both_languages(
    prepared: Project, tmp_path: Path, lang: str, word: str
) -> None:
    path = tmp_path / "report.html"
    with speak(lang):
        write_report(prepared, "dataset/latest", path)
    text = path.read_text(encoding="utf-8")
    assert word in text
    assert f'lang="{"zh-Hans" if lang == "zh" else "en"}"' in text
    links = Links()
    links.feed(text)
    assert links.found == []
    assert "<script" not in text
    assert "&lt;script&gt;" in text, "what users wrote is shown as text"
    assert text.count("<svg ") >= 3
    assert 'style="' not in text, "the console's content policy refuses it"


def test_the_console_page_shows_the_same(prepared: Project) -> None:
    values = PreparePage().values(prepared)
    assert values["data"].num_raw == 203
    assert set(values["drawn"]) == {"funnel", "lengths", "labels", "languages"}


def test_a_project_without_a_dataset_has_an_empty_page(tmp_path: Path) -> None:
    project = Project.open(write_project(tmp_path / "new", sentences(30)))
    assert PreparePage().values(project)["data"] is None


def test_without_the_extra_the_numbers_are_there_and_the_command_that_mends_it(
    prepared: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(charts, "can_draw", lambda: False)
    path = tmp_path / "report.html"
    write_report(prepared, "dataset/latest", path)
    text = path.read_text(encoding="utf-8")
    assert "<svg" not in text
    assert "pip install &#39;feilun[report]&#39;" in text or "pip install 'feilun[report]'" in text
    assert re.search(r">203<", text)
