"""Markdown → text, a column at a time, with patterns that take linear time."""

from __future__ import annotations

import re

import polars as pl

from feilun.stages.prepare.markup.rows import matching, where

_URL = r"(?:https?://|mailto:|/|\./|\.\./|#|\w[\w-]*\.)"
_TARGET = r"(?:[^()\s]|\([^()\s]*\))*"
_TITLE = r"""(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'))?"""
_CAPTION = r"[^\[\]\n]*"
_SURE_LINK = rf"\[({_CAPTION})\]\(<?{_URL}{_TARGET}>?{_TITLE}[ \t]*\)"
_LINK = rf"\[({_CAPTION})\]\(<?{_TARGET}>?{_TITLE}[ \t]*\)"
_AUTOLINK = r"<((?:https?://|mailto:)[^\s<>]+)>"
_DEFINITION = r"(?m)^ {0,3}\[[^\[\]\n]+\]:[ \t]+\S[^\n]*$\n?"
_SURE_DEFINITION = r"(?m)^ {0,3}\[[^\[\]\n]+\]:[ \t]+<?https?://"
_REFERENCE = rf"\[({_CAPTION})\]\[{_CAPTION}\]"
_HEADING = r"(?m)^ {0,3}#{1,6}[ \t]+([^\n]*?)[ \t]*(?:[ \t]#+[ \t]*)?$"
_FENCE = r"(?m)^[ \t]{0,3}(?:```|~~~)"
_DASHES = r"[ \t]*(?:-{2,}:?|:-+:?|-:)[ \t]*"
_DELIMITER = rf"(?m)^[ \t]*\|?{_DASHES}(?:\|{_DASHES})+\|?[ \t]*$\n?"
_LEAD = r"(?m)^[ \t]*(?:(?:[-+*]|[0-9]{1,9}[.)])[ \t]+)"
_BOLD_LINE = r"(?m)^[ \t]*(?:(?:[-+*]|[0-9]{1,9}[.)])[ \t]+)?\*\*[^\s*](?:[^*\n]*[^\s*])?\*\*"

_SIGNED = r"#|\*\*|```|~~~|\]\(|\]:|--"
"""What a text has that is Markdown beyond doubt: all are looked for at once, which is fast."""

_RULE = r"(?m)^ {0,3}(?:={3,}|-{3,}|(?:\*[ \t]?){3,}|_{3,})[ \t]*$\n?"
_QUOTE = r"(?m)^(?: {0,3}>[ \t]?)+"
_ITEM = r"(?m)^[ \t]*[-+*][ \t]+(?:\[[ xX]\][ \t]+)?"
_ROW = r"(?m)^[ \t]*\|[ \t]*(.*?)[ \t]*\|[ \t]*$"
_EMPHASES = (
    # Not within ASCII words and numbers: 2**3**4, f**k.
    r"(?-u:\b{start-half})\*{3}([^\s*](?:[^*\n]*[^\s*])?)\*{3}(?-u:\b{end-half})",
    r"(?-u:\b{start-half})\*\*([^\s*](?:[^*\n]*[^\s*])?)\*\*(?-u:\b{end-half})",
    r"(?-u:\b{start-half})\*([^\s*](?:[^*\n]*[^\s*])?)\*(?-u:\b{end-half})",
    r"\b{start-half}__([^\s_](?:[^\n]*?[^\s_])?)__\b{end-half}",
    r"\b{start-half}_([^\s_](?:[^_\n]*[^\s_])?)_\b{end-half}",
    r"~~([^\s~](?:[^~\n]*[^\s~])?)~~",
)
_ESCAPE = r"\\([!-/:-@\[-`{-~])"

_CODE = re.compile(
    # A fence to its end, or to the end of the text; code within a line.
    r"^[ \t]{0,3}(```|~~~).*?(?:^[ \t]{0,3}\1[`~]*[ \t]*$|\Z)|(?<!`)`([^`\n]+)`(?!`)",
    re.MULTILINE | re.DOTALL,
)
_SPECIAL = "<>&*_[]()#!|~\\`-+=:"
# Characters that Unicode keeps out of texts stand for those within code.
_HIDE = {ord(character): 0xFDD0 + at for at, character in enumerate(_SPECIAL)}
_SHOW = {stand_in: character for character, stand_in in _HIDE.items()}
STAND_INS = r"[\x{FDD0}-\x{FDEF}]"


def marked_up(texts: pl.Series) -> pl.Series:
    """For each text whether it is Markdown beyond doubt (Boolean): a link or an image with an
    address, a fence of code, a table, a heading above something, a bold lead of a line."""
    signed = texts.str.contains(_SIGNED).fill_null(False)
    rows = signed.arg_true()
    return signed.scatter(rows, _beyond_doubt(texts.gather(rows))) if len(rows) else signed


def _beyond_doubt(texts: pl.Series) -> pl.Series:
    above = texts.str.contains("\n", literal=True).fill_null(False)
    heading = above & matching(texts, "#", r"(?m)^ {0,3}#{2,6}[ \t]+\S|\A#[ \t]+\S")
    bold = matching(texts, "**", _BOLD_LINE)
    bold = bold & (above | matching(texts, "**", _LEAD))
    fence = matching(texts, "```", _FENCE) | matching(texts, "~~~", _FENCE)
    link = matching(texts, "](", _SURE_LINK) | matching(texts, "]:", _SURE_DEFINITION)
    return heading | bold | fence | link | matching(texts, "--", _DELIMITER)


def text_of(texts: pl.Series, *, links: str, sure: bool) -> pl.Series:
    """What a reader of each text sees: headings, items, quotes and cells as lines of plain text,
    emphasis without its signs, of an image its description, of a link its text (`links` is
    `text`) or nothing (`drop`). With `sure`, `[a](b)` is a link only if b is an address."""
    shown = "${1}" if links == "text" else ""
    link = _SURE_LINK if sure else _LINK
    texts = texts.str.replace_all(f"!{link}", "${1}").str.replace_all(link, shown)
    texts = texts.str.replace_all(_AUTOLINK, shown)
    texts = where(
        texts,
        matching(texts, "]:", _DEFINITION),
        lambda rows: rows.str.replace_all(_DEFINITION, "").str.replace_all(_REFERENCE, shown),
    )
    texts = where(texts, matching(texts, "--", _DELIMITER), _without_table_signs)
    for pattern in (_RULE, _QUOTE, _ITEM):
        texts = texts.str.replace_all(pattern, "")
    texts = texts.str.replace_all(_HEADING, "${1}")
    for pattern in _EMPHASES:
        texts = texts.str.replace_all(pattern, "${1}")
    return texts.str.replace_all(_ESCAPE, "${1}")


def _without_table_signs(texts: pl.Series) -> pl.Series:
    return (
        texts.str.replace_all(_DELIMITER, "")
        .str.replace_all(_ROW, "${1}")
        .str.replace_all(r"[ \t]*\|[ \t]*", " ")
    )


def code_hidden(text: str) -> str:
    """`text` with stand-ins for the signs in its code, so that nothing reads them as markup.
    A fence stays as it is; code within a line loses its backticks unless signs are in it."""
    return _CODE.sub(_hidden, text)


def code_shown(text: str) -> str:
    """`text` with its signs again."""
    return text.translate(_SHOW)


def _hidden(code: re.Match[str]) -> str:
    inline = code[2]
    if inline is not None and not any(sign in inline for sign in _SPECIAL):
        return str(inline)
    return code[0].translate(_HIDE)
