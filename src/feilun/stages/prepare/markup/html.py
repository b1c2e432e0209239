"""HTML → text, a column at a time, with patterns that take linear time whatever is in the text."""

from __future__ import annotations

import re
from html import unescape
from html.entities import html5

import polars as pl

from feilun.stages.prepare.markup.rows import each, matching, where

ROUNDS = 8
"""A tag in an attribute of a tag in an attribute… deeper, it is written to harm."""

_BLOCKS = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|div|dl|dt|"
    "fieldset|figcaption|figure|footer|form|h[1-6]|header|hr|html|legend|li|main|menu|nav|ol|"
    "optgroup|option|p|pre|section|summary|table|tbody|textarea|tfoot|thead|tr|ul"
)
_CELLS = "td|th"
_INLINE = (
    "a|abbr|acronym|area|audio|b|base|bdi|bdo|big|button|canvas|cite|code|col|colgroup|data|"
    "datalist|del|dfn|em|embed|font|frame|frameset|i|img|input|ins|kbd|label|link|map|mark|"
    "marquee|meta|meter|nobr|noframes|noscript|object|output|param|picture|progress|q|rp|rt|"
    "ruby|s|samp|select|slot|small|source|span|strike|strong|sub|sup|time|title|track|tt|u|var|"
    "video|wbr|[a-z][a-z0-9]*(?:[-:][a-z0-9]+)+"
)
_HIDDEN = ("script", "style", "head", "iframe", "math", "svg", "template")
"""Elements whose content nobody reads."""
_KNOWN = f"{_BLOCKS}|{_CELLS}|{_INLINE}|{'|'.join(_HIDDEN)}"
_ALONE = (
    "blockquote|body|br|center|div|font|h[1-6]|head|hr|html|img|li|ol|p|pre|span|table|tbody|td|"
    "th|thead|tr|ul"
)
"""Elements that are told by their beginning alone: nobody writes `<div>` and means something
else, as with `a<b>c` and `<title>`."""

_EVIDENCE = (
    rf"(?is)</(?:{_KNOWN})\s*>|<(?:{_ALONE})\s*/?>|<!--.*?-->|<!doctype\s+html|<!\[cdata\["
    rf"""|<(?:{_KNOWN})\s(?:[^<>=]*\s)?[a-z_:@][-\w:.@]*=(?:"[^"<]*"|'[^'<]*'|[^\s"'<>]+)[^<>]*>"""
)
_ENTITY = r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_NAMED = r"&[A-Za-z][A-Za-z0-9]{1,31};"
_NUMBER = re.compile(r"&#(?:[0-9]{1,7}|[xX][0-9a-fA-F]{1,6});")

# A tag ends at the first > outside quotes; with a quote that never closes, at the first one.
# No part of it goes past the next <, so time stays linear: what is in a value is taken out first.
_REST = r"""(?:[\s/](?:[^<>"']|"[^"<]*"|'[^'<]*')*|[\s/][^<>]*)?>"""
_COMMENTS = r"(?is)<!--.*?(?:-->|\z)|<!doctype[^<>]*>|<\?[a-z][^<>]*>|<!\[cdata\[|\]\]>"
_OPEN = r"(?:\s[^<>]*[^<>/]|\s)?>"
_UNREAD = {
    # A browser, too, takes an open script for one to the end. One pass each: searched for
    # together, an element that never closes would be looked after again at every other's match.
    name: rf"(?is)<{name}{_OPEN}.*?(?:</{name}\s*>|{end})"
    for name, end in zip(_HIDDEN, (r"\z", r"\z", r"<body[^<>]*>", *[r"[^\s\S]"] * 4), strict=True)
}
_CUT_OFF = rf"(?i)<(?:{_KNOWN})\s[^<>]*=[^<>]*\z"
"""A tag in whose middle the text ends."""
_ANY_NAME = r"[a-z][-\w:]*"
_ANY_UNREAD = rf"(?i)<(?:{'|'.join(_HIDDEN)})[\s>]"
_CELL = rf"(?i)(?:[ \t]*</?(?:{_CELLS}){_REST})+[ \t]*"
_BLOCK = rf"(?i)[ \t]*</?(?:{_BLOCKS}){_REST}[ \t]*"
_LAID_OUT = r"(?i)<(?:pre|textarea)[\s>]"
_SOURCE_BREAKS = r"(?i)<(?:p|div|table|ul|ol|html|body|h[1-6])[\s>]"


def marked_up(texts: pl.Series) -> pl.Series:
    """For each text whether it is HTML beyond doubt, or has an entity (Boolean)."""
    entities = matching(texts, "&", _ENTITY)
    rows = entities.arg_true()
    if len(rows):
        found = texts.gather(rows)
        entities = entities.scatter(rows, found != _decoded(found))
    return matching(texts, "<", _EVIDENCE) | entities


def text_of(texts: pl.Series, *, every_tag: bool = False) -> pl.Series:
    """What a reader of each text sees: no tags, attributes, comments, scripts or styles; a line
    break where a block begins or ends, a space between cells, entities decoded. A name that is
    no element (`List<String>`) stays, unless `every_tag`."""
    tags = matching(texts, "<", r"<[A-Za-z/!?]")
    return _decoded(where(texts, tags, lambda rows: _untagged(rows, every_tag)))


def _untagged(texts: pl.Series, every_tag: bool) -> pl.Series:
    texts = where(texts, texts.str.contains(r"<[!?]|\]\]>"), _uncommented)
    texts = where(texts, texts.str.contains(_ANY_UNREAD), _without_unread)
    # In a page, line feeds only lay out its source; not so in a text with a tag here and there.
    page = matching(texts, "\n", _SOURCE_BREAKS) & ~matching(texts, "\n", _LAID_OUT)
    texts = where(texts, page, lambda rows: rows.str.replace_all(r"[ \t\r\n\f]+", " "))
    inline = rf"(?i)</?(?:{_ANY_NAME if every_tag else _KNOWN}){_REST}"
    left = pl.Series(range(len(texts)), dtype=pl.UInt32)
    for _round in range(ROUNDS):
        fresh = (
            texts.gather(left)
            .str.replace_all(_CELL, " ")
            .str.replace_all(_BLOCK, "\n")
            .str.replace_all(inline, "")
        )
        changed = (fresh != texts.gather(left)) & fresh.str.contains("<", literal=True)
        texts = texts.clone().scatter(left, fresh)
        left = left.filter(changed)
        if not len(left):
            break
    return where(
        texts,
        texts.str.contains("<", literal=True),
        lambda rows: rows.str.replace_all(_CUT_OFF, ""),
    )


def _uncommented(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(_COMMENTS, "")


def _without_unread(texts: pl.Series) -> pl.Series:
    for element in _UNREAD.values():
        texts = texts.str.replace_all(element, " ")
    return texts


def _decoded(texts: pl.Series) -> pl.Series:
    texts = where(texts, matching(texts, "&", _NAMED), _names_decoded)
    return where(texts, matching(texts, "&#", _NUMBER.pattern), each(_numbers_decoded))


def _names_decoded(texts: pl.Series) -> pl.Series:
    # Those that are there: to look for all two thousand takes longer to begin than to do.
    found = texts.str.extract_all(_NAMED).explode().unique().to_list()
    names = [name for name in found if name[1:] in html5]
    return texts.str.replace_many(names, [_meant(name) for name in names]) if names else texts


def _meant(name: str) -> str:
    return " " if name == "&nbsp;" else html5[name[1:]]


def _numbers_decoded(text: str) -> str:
    return _NUMBER.sub(lambda number: unescape(number[0]), text)
