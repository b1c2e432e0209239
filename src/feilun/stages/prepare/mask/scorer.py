"""The compiled scorer of Chinese names (`chinese.c`) and the weights that it adds up.

A candidate is a surname and one or two Chinese characters. Its score is a log-odds, in hundredths
of a nat: how often its characters are surnames and given names, in which word the text goes on
before and behind it, and by how much the cheapest division of the text into words becomes dearer
when the candidate must be a word in it (高兴 is one already, 高兴旺 is none). The weights are those
of a logistic regression; `weights.tsv.gz` has them, with the words and their frequencies, and
`benchmarks/names/weights.py` makes it again.
"""

from __future__ import annotations

import ctypes
import gzip
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from feilun.core.compiled import library_path, load_library
from feilun.core.text import Texts, utf8
from feilun.stages.prepare.mask.surnames import (
    COMMON,
    DOUBLE,
    OPENERS,
    RARE,
    SPEECH,
    STRONG,
    TITLES,
    WEAK,
)

LIBRARY = library_path(__file__, "chinese")
WEIGHTS = Path(__file__).with_name("weights.tsv.gz")

HAN = 0x9FFF - 0x4E00 + 1
CLASSES = (
    "EDGE", "DIGIT", "LETTER", "SPACE", "COMMA", "LIST", "STOP", "COLON", "OPENS", "CLOSES", "DOT",
    "OTHER",
)  # fmt: skip
"""What a symbol is that is no Chinese character; numbered behind those, as in chinese.c."""
COLUMNS = (
    "family1", "family2", "given1", "first", "second", "left", "right", "ending", "beginning",
    "cost",
)  # fmt: skip
"""The weights of a symbol: as a surname before one and before two characters, as the only, first
and second one of a given name, right before and behind a name (as a word; as a word's ending or
beginning); `cost` is minus its log-probability as a word."""
SIZES = {"bias": 4, "margin": 48, "inner": 16, "head": 16, "whole": 16, "bonus": 8}
FIELDS = 16
NO_FAMILY = -32768
THRESHOLD = -50
"""From which score on a candidate is a name. On the half of People's Daily that the weights have
not seen, precision and recall are about equal there."""
LOW = -600
"""A candidate whose own characters say less than this is not looked at again: six nats are more
than what is around it gives but for a strong cue."""
_CUES = ((STRONG, 1), (WEAK, 2), (TITLES, 4), (SPEECH, 8), (OPENERS, 32), (DOUBLE, 128))
_POINTER, _INT = ctypes.c_void_p, ctypes.c_int64


class Weights(NamedTuple):
    """`symbols` (a row per symbol, a column per `COLUMNS`; int16), `words` (cost, weight to the
    left of a name, to its right), `tables` (name → int16, lengths in `SIZES`)."""

    symbols: np.ndarray
    words: dict[str, tuple[int, int, int]]
    tables: dict[str, np.ndarray]


class _Table(ctypes.Structure):
    _fields_ = [
        *((name, _POINTER) for name in ("keys", "cost", "left", "right", "cue", "symbols")),
        *((name, _POINTER) for name in SIZES),
        *((name, _INT) for name in ("mask", "threshold", "low", "announced")),
    ]


def symbol(name: str) -> int:
    """The row of a Chinese character or of one of `CLASSES`."""
    return HAN + CLASSES.index(name) if name in CLASSES else ord(name) - 0x4E00


def no_weights() -> Weights:
    """Nothing known but the surnames."""
    symbols = np.zeros((HAN + len(CLASSES), len(COLUMNS)), dtype=np.int16)
    symbols[:, :2] = NO_FAMILY
    for family in COMMON | RARE:
        symbols[ord(family) - 0x4E00, :2] = 0
    return Weights(symbols, {}, {name: np.zeros(n, np.int16) for name, n in SIZES.items()})


def read(path: Path = WEIGHTS) -> Weights:
    """The weights in the file: lines `# notice`, `t name numbers`,
    `c symbol numbers`, `w word numbers`."""
    made = no_weights()
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        what, _space, rest = line.partition(" ")
        if what == "#":
            continue
        name, *numbers = rest.split()
        values = [int(number) for number in numbers]
        if what == "t":
            made.tables[name][:] = values
        elif what == "w":
            made.words[name] = (values[0], values[1], values[2])
        else:
            made.symbols[symbol(name)] = values
    return made


def write(weights: Weights, path: Path = WEIGHTS, notice: str = "") -> None:
    """The file that `read` reads, `notice` at its head; the same bytes for the same weights."""
    lines = [f"# {line}".rstrip() for line in notice.splitlines()]
    lines += [f"t {name} {_joined(table)}" for name, table in weights.tables.items()]
    for at in np.flatnonzero((weights.symbols != no_weights().symbols).any(axis=1)):
        name = chr(0x4E00 + at) if at < HAN else CLASSES[at - HAN]
        lines.append(f"c {name} {_joined(weights.symbols[at])}")
    lines += [f"w {word} {_joined(values)}" for word, values in sorted(weights.words.items())]
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0))


def _joined(values: np.ndarray | tuple[int, ...]) -> str:
    return " ".join(str(int(value)) for value in values)


class Scorer:
    """Finds names in columns with given weights; safe to share between threads."""

    def __init__(self, weights: Weights, threshold: int = THRESHOLD, low: int = LOW) -> None:
        self._arrays = _words(weights)
        symbols = np.ascontiguousarray(weights.symbols)
        tables = [np.ascontiguousarray(weights.tables[name]) for name in SIZES]
        self.words = self._arrays[0]
        self._kept = [symbols, *tables]
        pointers = [a.ctypes.data for a in (*self._arrays, *self._kept)]
        mask = len(self._arrays[0]) - 1
        self._any = _Table(*pointers, mask, threshold, low, 0)
        self._announced = _Table(*pointers, mask, threshold, low, 1)

    def names(self, texts: pl.Series, *, announced: bool = False) -> np.ndarray:
        """Row, start, end (in characters) and score of each name, int32, in their order; null
        has none. `announced`: only those with a cue beside them somewhere in their text."""
        given = utf8(texts)
        out = np.empty((len(given.content) // 6 + 1, 4), dtype=np.int32)
        table = self._announced if announced else self._any
        return _run(table, given, out, 0)

    def candidates(self, texts: pl.Series) -> np.ndarray:
        """What describes each candidate (`FIELDS` numbers), for fitting weights."""
        given = utf8(texts)
        out = np.empty((4 * (len(given.content) // 3) + 8, FIELDS), dtype=np.int32)
        return _run(self._any, given, out, 1)


def _run(table: _Table, given: Texts, out: np.ndarray, all_: int) -> np.ndarray:
    num = _library().fl_names(
        ctypes.byref(table), given.content.ctypes.data, given.starts.ctypes.data, 0, given.num,
        all_, out.ctypes.data,
    )  # fmt: skip
    if num < 0:
        raise MemoryError
    return out[:num]


def _words(weights: Weights) -> tuple[np.ndarray, ...]:
    """The open hash table of chinese.c: keys, costs, weights to both sides, cues."""
    known = {word for group, _bit in _CUES for word in group}
    entries = sorted(weights.words.keys() | known)
    size = 1 << (2 * len(entries)).bit_length()
    keys = np.zeros(size, dtype=np.uint64)
    cost, left, right = (np.zeros(size, dtype=np.int16) for _column in range(3))
    cue = np.zeros(size, dtype=np.uint8)
    for word in entries:
        key = 0
        for character in word:
            key = key << 16 | ord(character)
        at = (key * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 20 & (size - 1)
        while keys[at]:
            at = (at + 1) & (size - 1)
        keys[at] = key
        cost[at], left[at], right[at] = weights.words.get(word, (0, 0, 0))
        cue[at] = sum(bit for group, bit in _CUES if word in group)
    return keys, cost, left, right, cue


@cache
def _library() -> ctypes.CDLL:
    return load_library(
        LIBRARY, {"fl_names": [*[_POINTER] * 3, *[_INT] * 3, _POINTER]}, {"fl_names"}
    )


@cache
def scorer() -> Scorer:
    """The scorer with the weights that we ship."""
    return Scorer(read())
