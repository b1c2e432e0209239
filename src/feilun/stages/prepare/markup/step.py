"""The step `markup`."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from feilun.core.run import Run
from feilun.stages.prepare.markup import html, markdown
from feilun.stages.prepare.markup.rows import each, where
from feilun.stages.prepare.step import Rewrite

ROUNDS = 8
"""Escaped markup is markup of the next round; nobody escapes eight times."""


class Markup(Rewrite):
    """HTML and Markdown become the text that a reader sees; what is then empty is dropped as
    `empty`.

    Of HTML: no tags, attributes, comments, scripts, styles or heads; a line break where a block
    begins or ends; entities decoded, also escaped ones (`&amp;lt;`). Of Markdown: headings,
    items, quotes and table rows become lines, emphasis loses its signs, an image leaves its
    description; code stays as it is, with its fence.

    `auto` touches only texts that are beyond doubt one or the other, so `a < b and c > d`,
    `List<String>`, `C#` and 用*号 stay; what it made it does not change again. `html` and
    `markdown` say what every text is, and read each once.
    """

    use: ClassVar[str] = "markup"

    format: Literal["auto", "html", "markdown"] = Field(
        "auto", description="what the texts are written in"
    )
    links: Literal["text", "drop"] = Field(
        "text", description="what stays of a Markdown link: its text, or nothing"
    )

    def rewritten(self, texts: pl.Series, run: Run) -> pl.Series:
        if self.format == "html":
            return _tidy(texts, html.text_of(texts, every_tag=True))
        if self.format == "markdown":
            every = pl.repeat(True, len(texts), dtype=pl.Boolean, eager=True)
            return self._read(texts, every, every, sure=False)
        fresh = texts
        rows = pl.Series(range(len(texts)), dtype=pl.UInt32)
        for _round in range(ROUNDS):
            left = fresh.gather(rows)
            tags = html.marked_up(left)
            signs = markdown.marked_up(left)
            chosen = (tags | signs).arg_true()
            if not len(chosen):
                break
            rows = rows.gather(chosen)
            plain = self._read(left.gather(chosen), tags.gather(chosen), signs.gather(chosen))
            changed = (plain != left.gather(chosen)).arg_true()
            rows = rows.gather(changed)
            fresh = fresh.clone().scatter(rows, plain.gather(changed))
        return fresh

    def _read(
        self, texts: pl.Series, tags: pl.Series, signs: pl.Series, *, sure: bool = True
    ) -> pl.Series:
        """The texts, those with `tags` read as HTML, then those with `signs` as Markdown."""
        code = texts.str.contains("`|~~~")
        plain = where(texts, code, _code_hidden)
        plain = where(plain, tags, html.text_of)
        plain = where(
            plain, signs, lambda rows: markdown.text_of(rows, links=self.links, sure=sure)
        )
        return where(_tidy(texts, plain), code, each(markdown.code_shown))


def _code_hidden(texts: pl.Series) -> pl.Series:
    return each(markdown.code_hidden)(texts.str.replace_all(markdown.STAND_INS, ""))


def _tidy(texts: pl.Series, plain: pl.Series) -> pl.Series:
    """`plain`, without the empty lines that markup leaves behind where it was."""
    gaps = plain.str.contains(r"\n\s*\n|[ \t]\n") & (plain != texts)
    return where(plain, gaps, lambda rows: rows.str.replace_all(r"[ \t]*\n(?:\s*\n)?", "\n"))
