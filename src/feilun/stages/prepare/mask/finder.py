"""What is personal in a column of texts: every kind's finds, each place given to one of them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from feilun.stages.prepare.mask.kinds import ANY, APART, KINDS, NAMES, Kind, Span
from feilun.stages.prepare.mask.scorer import scorer
from feilun.stages.prepare.mask.surrogates import known

NAME = "name"
BATCH = 4_000_000
"""Bytes of text that are searched together: what is held twice in memory."""
FEW = 64
"""Texts that are looked through one by one."""
Find = tuple[int, int, str]
"""Start, end (characters), kind."""
_KINDS = (*NAMES, NAME)
"""By their order; Chinese names are the last."""
_Claim = tuple[int, int, int, int]
"""Row, order of its kind, start, end."""


class Finder(NamedTuple):
    """Looks for `kinds`; `names`: Chinese names that a cue announces, or all likely ones; with
    `ours` surrogates claim their place and are not told."""

    kinds: Sequence[str] = NAMES
    names: Literal["announced", "likely"] = "likely"
    ours: bool = False

    def __call__(self, texts: pl.Series) -> Iterator[tuple[int, str, list[Find]]]:
        """Row, text and finds (in their order, without overlaps) of each text that has some."""
        first = 0
        for size in _batches(texts):
            piece = texts.slice(first, size)
            claims = self._claims(piece)
            rows = np.unique(np.array([claim[0] for claim in claims], dtype=np.int64))
            claimed = groupby(claims, itemgetter(0))
            for text, (row, some) in zip(piece.gather(rows).to_list(), claimed, strict=True):
                finds = _given(text, list(some), self.ours)
                if finds:
                    yield first + row, text, finds
            first += size

    def _claims(self, texts: pl.Series) -> list[_Claim]:
        """By row; in a row by the order of kinds, then the longer, then the earlier."""
        chosen = [(at, kind) for at, kind in enumerate(KINDS) if kind.name in self.kinds]
        columns = [_searched(texts, rows, at, kind) for at, kind, rows in _hinted(texts, chosen)]
        if NAME in self.kinds:
            places = scorer().names(texts, announced=self.names == "announced")
            order = np.full(len(places), len(KINDS), dtype=np.int64)
            columns.append(np.stack([places[:, 0], order, places[:, 1], places[:, 2]]))
        if not columns:
            return []
        row, order, start, end = np.concatenate(columns, axis=1)
        by = np.lexsort((start, start - end, order, row))
        return list(zip(*(c[by].tolist() for c in (row, order, start, end)), strict=True))


def _batches(texts: pl.Series) -> list[int]:
    """How many texts are searched together, each time."""
    ends = texts.str.len_bytes().fill_null(0).cum_sum().to_numpy()
    if not len(ends) or ends[-1] <= BATCH:
        return [len(texts)] if len(ends) else []
    _numbers, counts = np.unique(ends // BATCH, return_counts=True)
    return [int(count) for count in counts]


def _hinted(
    texts: pl.Series, kinds: Sequence[tuple[int, Kind]]
) -> Iterator[tuple[int, Kind, np.ndarray]]:
    """Each kind with the rows that have its gate and its hint; without those that no row has."""
    if len(texts) <= FEW:
        yield from _hinted_few([text or "" for text in texts.to_list()], kinds)
        return
    behind: dict[str, tuple[np.ndarray, pl.Series]] = {
        ANY: (np.arange(len(texts)), texts),
    }
    for at, kind in kinds:
        if kind.gate not in behind:
            behind[kind.gate] = _having(np.arange(len(texts)), texts, kind.gate)
        rows, _texts = _having(*behind[kind.gate], kind.hint)
        if len(rows):
            yield at, kind, rows


def _hinted_few(
    texts: Sequence[str], kinds: Sequence[tuple[int, Kind]]
) -> Iterator[tuple[int, Kind, np.ndarray]]:
    """As `_hinted`, text by text: a call of polars costs as much as a hundred short texts do."""
    gates: dict[str, list[int]] = {}
    for at, kind in kinds:
        if kind.gate not in gates:
            gate = _compiled(kind.gate)
            gates[kind.gate] = [row for row, text in enumerate(texts) if gate.search(text)]
        hint = _compiled(kind.hint)
        rows = [row for row in gates[kind.gate] if hint.search(texts[row])]
        if rows:
            yield at, kind, np.array(rows)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Gates and hints use what Rust's `regex` and Python's `re` read in the same way."""
    return re.compile(pattern)


def _having(rows: np.ndarray, texts: pl.Series, pattern: str) -> tuple[np.ndarray, pl.Series]:
    has = texts.str.contains(pattern).fill_null(False)
    return rows[has.to_numpy()], texts.filter(has)


def _searched(texts: pl.Series, rows: np.ndarray, order: int, kind: Kind) -> np.ndarray:
    """The kind's finds in these rows: row, order, start, end; a column per find.

    The texts are joined, so that there is one call for all of them: `APART` is nothing that a
    pattern goes across."""
    some = texts.gather(rows)
    lengths = some.str.len_chars().to_numpy().astype(np.int64) + 1
    starts = np.cumsum(lengths) - lengths
    spans = np.array(list(set(kind.search(APART.join(some.to_list())))), dtype=np.int64).reshape(
        -1, 2
    )
    at = np.searchsorted(starts, spans[:, 0], side="right") - 1
    start, end = spans[:, 0] - starts[at], spans[:, 1] - starts[at]
    return np.stack([rows[at], np.full(len(at), order, dtype=np.int64), start, end])


def _given(text: str, claims: Sequence[_Claim], ours: bool) -> list[Find]:
    """Who gets which place: the first claim has it."""
    taken: list[Span] = []
    finds: list[Find] = []
    for _row, order, start, end in claims:
        if taken:
            place = bisect_left(taken, (start, end))
            before = place > 0 and taken[place - 1][1] > start
            if before or (place < len(taken) and taken[place][0] < end):
                continue
            taken.insert(place, (start, end))
        else:
            taken.append((start, end))
        name = _KINDS[order]
        if not (ours and known(name, text[start:end])):
            finds.append((start, end, name))
    return sorted(finds) if len(finds) > 1 else finds
