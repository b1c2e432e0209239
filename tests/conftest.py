"""A small trained project, made once and copied for every test that asks for one; and what the
tests against faults and attacks found."""

from __future__ import annotations

import csv
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from feilun.wheel.project import Project
from tests.evidence import PAGE, Evidence

GOOD = (
    "物流很快，{thing}也好",
    "{thing}非常满意，下次还来",
    "质量不错，推荐{thing}",
    "I love this {thing}, works great",
    "excellent {thing}, fast delivery",
)
BAD = (
    "太差了，{thing}坏了",
    "{thing}不满意，想退货",
    "客服态度恶劣，{thing}失望",
    "terrible {thing}, broke after a day",
    "I want a refund for this {thing}",
)
THINGS = ("包装", "手机", "耳机", "衣服", "酒店", "phone", "charger", "book", "lamp", "camera")

SETTINGS = """\
[project]
name = "reviews"
task = "classify"

[[collect.sources]]
use = "files"
path = "reviews.csv"

[train]
budget_seconds = 60
model.architecture = "ngram"
"""


def sentences(count: int = 300, seed: int = 7) -> list[tuple[str, str]]:
    """Bilingual reviews with their labels; five in a hundred labels are wrong, as in life."""
    choose = random.Random(seed)
    rows = []
    for number in range(count):
        label = choose.choice(("正面", "负面"))
        shape = choose.choice(GOOD if label == "正面" else BAD)
        text = f"{shape.format(thing=choose.choice(THINGS))} {number}"
        if choose.random() < 0.05:
            label = "负面" if label == "正面" else "正面"
        rows.append((text, label))
    return rows


def write_project(root: Path, rows: list[tuple[str, str]]) -> Path:
    """A project's folder that learns from `rows`; nothing is trained."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "feilun.toml").write_text(SETTINGS, encoding="utf-8")
    with (root / "reviews.csv").open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([("text", "label"), *rows])
    return root


@pytest.fixture(scope="session")
def trained_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project after one released turn; read it, do not change it."""
    root = write_project(tmp_path_factory.mktemp("template") / "reviews", sentences())
    with Project.open(root) as project:
        turn = project.turn()
    assert turn.verdict is not None
    assert turn.verdict.released, turn.verdict.reasons
    return root


@pytest.fixture
def project_folder(trained_template: Path, tmp_path: Path) -> Path:
    """A copy of the trained project, for tests that start processes."""
    return Path(shutil.copytree(trained_template, tmp_path / "reviews"))


@pytest.fixture
def trained_project(project_folder: Path) -> Iterator[Project]:
    """A copy of the trained project, opened."""
    with Project.open(project_folder) as project:
        yield project


_EVIDENCE = pytest.StashKey[Evidence]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--evidence", action="store_true", help=f"write {PAGE.name} from what the tests found"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_EVIDENCE] = Evidence(thorough=config.getoption("--evidence"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "evidence" in getattr(item, "fixturenames", ()):
            item.add_marker("reliability")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Writes the page of a run in which everything passed and no row is lacking."""
    if not session.config.getoption("--evidence"):
        return
    evidence = session.config.stash[_EVIDENCE]
    if exitstatus or evidence.lacking:
        print("", f"{PAGE.name} is not written", *evidence.lacking, sep="\n")
        session.exitstatus = exitstatus or 1
        return
    PAGE.write_text(evidence.page(), encoding="utf-8")


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """Where a test against a fault or an attack says what it found; see tests/evidence.py."""
    return request.config.stash[_EVIDENCE]
