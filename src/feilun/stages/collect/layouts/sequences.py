"""`conll`: tokens with tags, a token per line or in lists.

A file has one token per line, the token in the first column and the tag in the last, columns
parted by a tab or by spaces, and an empty line after each sentence. `-DOCSTART-` begins a
document (`group`), lines such as `# id 12` are remarks.

Tags are read as conlleval reads them: BIO (IOB1, IOB2), BIOES, BMES, BILOU; `B-PER`, `B_PER` or
`PER-B`; an `I-` that follows nothing of its type begins an entity; a tag without prefix counts as
`I-`; a prefix without type has the type `_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from feilun.stages.collect.layouts.naming import ROW
from feilun.stages.collect.layouts.rows import Built, Span, Unfit, nested, rest_of
from feilun.stages.collect.source import Quarantine

SENTENCES_PER_FRAME = 16_384
_PREFIX = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}
_CLOSE = (
    "\u2e80-\u2fdf\u3000-\u30ff\u31a0-\u31bf\u31f0-\u9fff\uf900-\ufaff\ufe30-\ufe4f"
    "\uff00-\uffef\U00020000-\U0003ffff"
)
_WIDE = re.compile(f"[{_CLOSE}]")
_TAG = re.compile(r"(?:O|[BIMESLU][-_]\S+|[BIMES]|\S+[-_][BIMES])\Z")
_TAG_OF = re.compile(r"([BIMESLU])(?:[-_](.+))?\Z|(.+)[-_]([BIMESLU])\Z", re.DOTALL)


def shaped(
    chunk: pl.DataFrame, columns: Mapping[str, str], where: str, quarantine: Quarantine
) -> pl.DataFrame:
    """One record per row of token lists (`tokens`, `ner_tags`); of lines, one per sentence, the
    chunk counting as the whole file. Refused: `bad_tags` where there are not as many tags as
    tokens, or tags are numbers whose names the file does not say; `no_text`."""
    if "tokens" not in columns:
        frames = list(conll_frames(iter([chunk]), where, quarantine))
        return pl.concat(frames) if frames else Built(where, quarantine).frame()
    built = Built(where, quarantine)
    used = frozenset(columns.values())
    for record in chunk.iter_rows(named=True):
        try:
            tokens = _list(record[columns["tokens"]], "no_text")
            text, places = in_text(tokens)
            if not text.strip():
                raise Unfit("no_text")
            spans = None
            if record.get(columns.get("tags", "")) is not None:
                tags = _list(record[columns["tags"]], "bad_tags")
                if len(tags) != len(tokens):
                    raise Unfit("bad_tags")
                spans = entities(tags, places)
        except Unfit as unfit:
            seen = {name: value for name, value in record.items() if name in used}
            built.refuse(record[ROW], unfit.reason, seen)
            continue
        fields = rest_of(record, used)
        built.add(record[ROW], text, spans, record, columns, fields)
    return built.frame()


def conll_frames(
    lines: Iterable[pl.DataFrame], where: str, quarantine: Quarantine
) -> Iterator[pl.DataFrame]:
    """The sentences in the lines of a file (`text`, `_row`; an empty line is ""), also those
    that go over from one frame of lines to the next; `row` is a sentence's first line. A
    sentence with a line that has no tag is refused as `no_tag`, at that line."""
    reader = _Sentences(where, quarantine)
    for frame in lines:
        texts = frame["text"].cast(pl.String).fill_null("")
        for row, line in zip(frame[ROW], texts, strict=True):
            reader.line(row, line)
        if reader.num_built >= SENTENCES_PER_FRAME:
            yield reader.taken()
    reader.end()
    if reader.num_built:
        yield reader.taken()


def looks_tagged(lines: Sequence[str]) -> bool:
    """Whether nearly all of these lines are a token and its tag."""
    filled = [line for line in lines if line.strip()]
    fit = sum(line.startswith("-DOCSTART-") or _remark(line) or _tagged(line) for line in filled)
    outside = sum(line.rstrip().endswith(("\tO", " O")) for line in filled)
    return len(filled) >= 4 and fit >= 0.95 * len(filled) and outside > 0


def in_text(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """The tokens as one text, and the range of each: no space beside a Chinese or Japanese
    character, one space between others. Where each token is a single character and one of them
    is Chinese, the tokens are characters, and nothing is put between any."""
    characters = all(len(token) == 1 for token in tokens) and any(map(_WIDE.match, tokens))
    pieces: list[str] = []
    places: list[tuple[int, int]] = []
    at = 0
    for number, token in enumerate(tokens):
        before = tokens[number - 1] if number else ""
        if number and not characters and not _touching(before, token):
            pieces.append(" ")
            at += 1
        pieces.append(token)
        places.append((at, at + len(token)))
        at += len(token)
    return "".join(pieces), places


def entities(tags: Sequence[str], places: Sequence[tuple[int, int]]) -> list[Span]:
    """The entities that a sequence of tags marks, as conlleval has them (chunks may end at E, S,
    before B, S, O, and where the type changes; they begin at B, S, after E, S, O, and where the
    type changes)."""
    found: list[Span] = []
    start: int | None = None
    before, kind_before = "O", ""
    for number, tag in enumerate(tags):
        prefix, kind = _parsed(tag)
        changed = kind != kind_before
        closing = before != "O" and (before in "ES" or prefix in "BSO" or changed)
        if closing and start is not None:
            found.append((start, places[number - 1][1], kind_before))
            start = None
        if prefix != "O" and (prefix in "BS" or before in "ESO" or changed):
            start = places[number][0]
        before, kind_before = prefix, kind
    if start is not None and before != "O":
        found.append((start, places[len(tags) - 1][1], kind_before))
    return found


class _Sentences:
    """The sentence at hand, and the records so far."""

    def __init__(self, where: str, quarantine: Quarantine) -> None:
        self._where, self._quarantine = where, quarantine
        self._built = Built(where, quarantine)
        self._tokens: list[str] = []
        self._tags: list[str] = []
        self._first = 0
        self._refused = False
        self._document = 0
        self.num_built = 0

    def line(self, row: int, line: str) -> None:
        if not line.strip(" \t\r\n"):
            self.end()
            return
        if line.startswith("-DOCSTART-"):
            self.end()
            self._document += 1
            return
        if _remark(line):
            return
        found = _two(line)
        if found is None:
            self._refused = True
            self._quarantine.add(self._where, row, "no_tag", line)
            return
        if not self._tokens:
            self._first = row
        self._tokens.append(found[0])
        self._tags.append(found[1])

    def end(self) -> None:
        if self._tokens and not self._refused:
            text, places = in_text(self._tokens)
            group = f"{self._where}#{self._document}" if self._document else None
            self._built.take(self._first, text, entities(self._tags, places), None, {}, group=group)
            self.num_built += 1
        self._tokens, self._tags, self._refused = [], [], False

    def taken(self) -> pl.DataFrame:
        frame = self._built.frame()
        self._built, self.num_built = Built(self._where, self._quarantine), 0
        return frame


def _two(line: str) -> tuple[str, str] | None:
    """The token and the tag of a line; None when it has not both."""
    line = line.rstrip("\r\n")
    if "\t" in line:
        cells = line.split("\t")
        # A token may be white space: it stands in the first column all the same.
        token, tag = cells[0].strip() or cells[0] or " ", cells[-1].strip()
        return (token, tag) if tag else None
    cells = [cell for cell in line.split(" ") if cell]
    if len(cells) == 1:
        return (" ", cells[0]) if line.startswith(" ") and _TAG.match(cells[0]) else None
    return (cells[0], cells[-1]) if cells else None


def _tagged(line: str) -> bool:
    found = _two(line)
    return found is not None and _TAG.match(found[1]) is not None


def _remark(line: str) -> bool:
    """Whether a line is none of a sentence, such as CoNLL-U's `# sent_id = 1`."""
    return line.startswith("# ") and "\t" not in line and not _TAG.match(line.rsplit(None, 1)[-1])


def _parsed(tag: str) -> tuple[str, str]:
    if tag in ("O", ""):
        return "O", ""
    found = _TAG_OF.match(tag)
    if found is None:
        return "I", tag
    if found[1]:
        return _PREFIX[found[1]], found[2] or "_"
    return _PREFIX[found[4]], found[3]


def _touching(before: str, after: str) -> bool:
    return (
        not before
        or not after
        or before[-1].isspace()
        or after[0].isspace()
        or _WIDE.match(before[-1]) is not None
        or _WIDE.match(after[0]) is not None
    )


def _list(value: Any, reason: str) -> list[str]:
    found = nested(value)
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise Unfit(reason)
    return found
