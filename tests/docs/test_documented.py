"""Every command, option, setting, part, error, route and link of ours stands in the docs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest
from markdown_blocks import ROOT, pages

DOCS = ROOT / "docs"


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    """Each command's full name and its options."""
    inner = getattr(command, "commands", {})
    for word, each in inner.items():
        yield from commands(each, f"{name} {word}")
    if inner and not (command.invoke_without_command and command.params and " " in name):
        return
    options = [o for p in command.params for o in (*p.opts, *p.secondary_opts)]
    yield name, [o for o in options if o.startswith("--") and o != "--help"]


def all_commands() -> list[tuple[str, list[str]]]:
    import typer.main

    from feilun.cli.main import app

    return list(commands(typer.main.get_command(app), "feilun"))


def row_of(page: str, command: str) -> str | None:
    found = re.search(rf"^\| `{re.escape(command)}(?:`| [^`]*`).*$", page, re.MULTILINE)
    return found[0] if found else None


def test_every_command_and_option_stands_in_its_row() -> None:
    page = text("commands.md")
    missing = []
    for name, options in all_commands():
        row = row_of(page, name)
        if row is None:
            missing.append(name)
        else:
            missing += [
                f"{name} {o}" for o in options if f"`{o}`" not in row and f"`{o} " not in row
            ]
    assert not missing, missing


def test_no_row_names_a_command_or_option_that_is_not_there() -> None:
    known = dict(all_commands())
    for line in text("commands.md").splitlines():
        if line.startswith("| `feilun "):
            name = max((c for c in known if f"`{c}`" in line or f"`{c} " in line), key=len)
            claimed = re.findall(r"`(--[a-z-]+)", line.rpartition(" | ")[2])
            assert set(claimed) <= set(known[name]), (name, claimed)


@pytest.mark.parametrize("script", ["settings_page", "errors_page"])
def test_generated_pages_are_what_the_classes_say(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"tests.{script}", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"python -m tests.{script}\n{done.stdout}{done.stderr}"


STAGE_PAGES = {
    "source": "collect.md",
    "step": "prepare.md",
    "family": "models.md",
    "check": "evaluate.md",
    "rule": "release.md",
    "detector": "monitor.md",
    "collector": "feedback.md",
    "task": "tasks.md",
    "page": "prepare.md",
    "page.alerts": "alerts.md",
    "page.gateway": "gateway.md",
    "page.monitor": "monitor.md",
    "page.privacy": "log.md",
    "page.serve": "serve.md",
    "page.train": "train.md",
    "page.usage": "keys.md",
    "channel": "alerts.md",
    "teacher": "distil.md",
}
"""Where a kind of part is documented, or one part of it that belongs elsewhere."""


def test_every_part_stands_on_the_page_of_its_stage() -> None:
    ours = [p.name for p in entry_points(group="feilun.parts") if p.value.startswith("feilun.")]
    assert ours
    missing = []
    for name in ours:
        kind, _dot, use = name.partition(".")
        page = STAGE_PAGES.get(name, STAGE_PAGES.get(kind))
        if page is None or not re.search(rf"`\"?{use}\"?`", text(page)):
            missing.append(name)
    assert not missing, missing


def test_every_setting_of_a_section_stands_on_its_stage_page() -> None:
    from feilun.core.stage import STAGES
    from feilun.wheel.settings import Settings

    missing = []
    for stage in STAGES:
        section = Settings.model_fields[stage].annotation
        assert isinstance(section, type)
        said = text(f"{stage}.md")
        for name in section.model_fields:  # type: ignore[attr-defined]  # a pydantic class
            if not re.search(rf"[`.]{name}[`.\]]|\[{stage}\.{name}\]", said):
                missing.append(f"{stage}.{name}")
    assert not missing, missing


def test_every_route_stands_in_http() -> None:
    policy = pytest.importorskip("feilun.service.policy")
    page = text("http.md")
    missing = [f"{m} {p}" for m, p in policy.TABLE if f"`{m} {p}`" not in page]
    assert not missing, missing
    claimed = set(re.findall(r"`(GET|POST) (/[^`]*)`", page))
    assert claimed <= set(policy.TABLE), claimed - set(policy.TABLE)


def test_every_field_and_status_of_the_api_stands_in_the_docs() -> None:
    app = pytest.importorskip("feilun.service.routes")
    shapes = pytest.importorskip("feilun.service.shapes")
    page = text("http.md")
    for shape in (
        shapes.ClassifyRequest,
        shapes.FeedbackRequest,
        shapes.Result,
        shapes.LabelsResult,
        shapes.TagResult,
        shapes.EntityFound,
        shapes.MatchResult,
        shapes.RegressResult,
        shapes.EmbeddingsAnswer,
        shapes.Vector,
        shapes.ModelEntry,
    ):
        for name in set(shape.model_fields) - {"object"}:
            assert f"`{name}`" in page or f'"{name}"' in page, name
    for status in {status for entry in app.API for status in entry.errors}:
        assert str(status) in page, status


def anchors(markdown: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    bare = re.sub(r"^(`{3,}).*?^\1$", "", markdown, flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", bare, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links() -> Iterator[str]:
    for page in (*pages(), *sorted((ROOT / "decisions").glob("*.md"))):
        bare = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", bare):
            if re.match(r"[a-z]+:", target):
                continue
            path, _hash, anchor = target.partition("#")
            found = page.parent / path if path else page
            if not found.exists() or (
                anchor and anchor not in anchors(found.read_text(encoding="utf-8"))
            ):
                yield f"{page.name}: {target}"


def test_every_link_leads_somewhere() -> None:
    assert not list(broken_links())


def test_every_page_is_reached_from_the_index() -> None:
    index = text("index.md")
    missing = [p.name for p in DOCS.glob("*.md") if p.name != "index.md" and p.name not in index]
    assert not missing, missing


def test_readmes_say_the_same_and_begin_with_a_command() -> None:
    shapes = []
    for name in ("README.md", "README.zh-CN.md"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 120, name
        assert "make demo" in "\n".join(lines[:15]), name
        shapes.append(
            (
                sum(line.startswith("#") for line in lines),
                sum(line.startswith("```") for line in lines),
                sum(line.startswith("|") for line in lines),
                [line for line in lines if line.startswith(("curl", "feilun turn"))],
            )
        )
    assert shapes[0] == shapes[1]


def test_nothing_of_one_machine_stands_in_the_docs() -> None:
    for page in pages():
        said = page.read_text(encoding="utf-8")
        assert not re.search(r"/(work|home|root|Users)/", said), page
