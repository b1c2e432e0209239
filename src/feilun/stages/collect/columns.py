"""Which column of a table is the text and which the label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from feilun.core.errors import Invalid, nearest, shortened
from feilun.core.i18n import _

if TYPE_CHECKING:
    import polars as pl

TEXT_NAMES = (
    "text", "content", "review", "sentence", "comment", "message", "body", "question", "title",
    "文本", "内容", "评论", "正文", "评价", "句子", "留言", "问题", "标题",
)  # fmt: skip
LABEL_NAMES = (
    "label", "category", "class", "sentiment", "target", "intent", "tag", "topic",
    "标签", "类别", "分类", "情感", "意图", "类型",
    "stars", "rating", "星级", "评分", "打分",
)  # fmt: skip


class ColumnMissing(Invalid):
    """A table lacks the column that was named."""

    def __init__(self, path: Path | str, column: str, known: list[str]) -> None:
        guess = nearest(column, known)
        listed = ", ".join(shortened(name, 30) for name in known[:20])
        message = _("{path} has no column '{column}'; it has: {known}.").format(
            path=path, column=shortened(column), known=listed
        )
        remedy = (
            _("Did you mean '{guess}'? Set columns under [[collect.sources]] in feilun.toml.")
            if guess
            else _("Set columns = {{ text = …, label = … }} under [[collect.sources]].")
        )
        super().__init__(message, remedy=remedy.format(guess=guess))


class ColumnUnclear(Invalid):
    """The text column cannot be guessed."""

    def __init__(self, path: Path | str, known: list[str]) -> None:
        listed = ", ".join(shortened(name, 30) for name in known[:20])
        super().__init__(
            _("Which column of {path} is the text? It has: {known}.").format(
                path=path, known=listed
            ),
            remedy=_(
                "Name it: --text COLUMN --label COLUMN, or columns = {{ text = …, label = … }} "
                "under [[collect.sources]] in feilun.toml."
            ).format(),
        )


def guess_columns(
    frame: pl.DataFrame, path: Path | str, known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The likely `text` and, if any, `label` column: by name, else the longest column of text
    and the one with the fewest different values; raises `ColumnUnclear`."""
    import polars as pl

    names = frame.columns
    by_name = {name.strip().lower(): name for name in reversed(names)}
    known = known or {}
    text = known.get("text") or next((by_name[n] for n in TEXT_NAMES if n in by_name), None)
    label = known.get("label") or next((by_name[n] for n in LABEL_NAMES if n in by_name), None)
    if text is None:
        lengths = {
            name: frame[name].cast(pl.String).str.len_chars().mean() or 0.0
            for name in names
            if name != label
        }
        text = max(lengths, key=lambda name: float(str(lengths[name])), default=None)
        if text is None or float(str(lengths[text])) < 4:
            raise ColumnUnclear(path, names)
    if label is None:
        few = {
            name: frame[name].n_unique()
            for name in names
            if name != text and 2 <= frame[name].n_unique() <= max(2, min(200, frame.height // 5))
        }
        label = min(few, key=lambda name: few[name], default=None)
    return {"text": text} if label is None else {"text": text, "label": label}
