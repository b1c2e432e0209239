"""The code blocks of a Markdown page, and what stands before them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
_FENCE = re.compile(r"^(`{3,})(\w*)\s*(.*)$")
_TITLE = re.compile(r'title="([^"]+)"')
_NOT_RUN = re.compile(r"^<!-- not run: .{8,} -->$")


class Block(NamedTuple):
    """A fenced block: its page and line, language, file name (title) and text; `skipped` when
    the comment above it says that it must not be run, and why."""

    page: Path
    line: int
    language: str
    title: str
    text: str
    skipped: bool

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Every fenced block of the page, in order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            at += 1
            continue
        end = lines.index(fence[1], at + 1)
        title = _TITLE.search(fence[3])
        above = lines[at - 1] if at else ""
        text = "\n".join(lines[at + 1 : end]) + "\n"
        skipped = _NOT_RUN.match(above) is not None
        found.append(Block(page, at + 1, fence[2], title[1] if title else "", text, skipped))
        at = end + 1
    return found


def pages() -> list[Path]:
    """Every page that a reader meets."""
    top = [ROOT / name for name in ("README.md", "README.zh-CN.md", "ARCHITECTURE.md")]
    more = [ROOT / name for name in ("CONTRIBUTING.md", "examples/README.md")]
    return [*top, *more, *sorted((ROOT / "docs").glob("*.md"))]
