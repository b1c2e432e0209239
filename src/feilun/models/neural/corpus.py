"""Texts without labels as a network is pretrained on them: ids on disk, read where they are needed.

However many texts there are, memory holds a few numbers per passage; the ids stay in a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
import polars as pl

from feilun.core.errors import disk_error
from feilun.models.neural import words
from feilun.models.neural.reading import Reader

if TYPE_CHECKING:
    from feilun.models.family import Lesson

SENTENCE = re.compile("(?<=[。！？!?…])(?![。！？!?…”’」』）)\"'])|(?<=[.])(?=\\s)|\\n+")
"""Where a sentence ends."""
TOKENIZED = 20_000_000
"""Characters that a tokenizer is trained on; more change its entries no longer."""
ROWS = 4096
"""Texts in memory at a time."""
SLICE = 1 << 20
"""Ids in memory at a time where words are joined."""
SHORTEST = 2
"""Ids of a passage; shorter ones have nothing to find a hidden id by."""


class Passages(NamedTuple):
    """Passages of texts: runs of whole sentences that fit into what the network reads at once.

    `ids` (int32) and `word` (bool: a word begins here) lie in files. Passage p is of text
    `text[p]` and has the sentences `first[p]` to `first[p + 1]`; sentence s has the ids
    `start[s]` to `start[s + 1]`.
    """

    ids: np.ndarray
    word: np.ndarray
    start: np.ndarray
    first: np.ndarray
    text: np.ndarray

    def __len__(self) -> int:
        """How many passages."""
        return len(self.text)

    @property
    def sentences(self) -> np.ndarray:
        """The number of sentences of each passage."""
        return np.diff(self.first)


def texts_of(lesson: Lesson) -> Iterator[str]:
    """The texts that may be learnt from without their labels, one by one: unlabelled records,
    then those of the training split. Nothing of validation or test."""
    for path in lesson.unlabelled:
        rows = pl.scan_parquet(path).select(pl.len()).collect().item()
        for at in range(0, rows, ROWS):
            frame = pl.scan_parquet(path).select("text").slice(at, ROWS).collect()
            yield from (text for text in frame["text"] if text)
    yield from (text for text in lesson.train["text"] if text)


def sample_of(lesson: Lesson, characters: int) -> list[str]:
    """Texts spread evenly over all that `texts_of` gives, about so many characters of them."""
    total = sum(len(text) for text in texts_of(lesson))
    if total <= characters:
        return list(texts_of(lesson))
    kept: list[str] = []
    size = seen = 0
    for text in texts_of(lesson):
        seen += len(text)
        if size < characters * (seen / total):
            kept.append(text)
            size += len(text)
    return kept


def prepared(
    texts: Iterable[str],
    reader: Reader,
    folder: Path,
    *,
    length: int,
    whole_words: bool,
    progress: Callable[[int], None] | None = None,
) -> Passages:
    """The texts as passages of at most `length` ids, in files in `folder`; what a killed
    predecessor had finished there is taken as it is. `progress` is told the texts done."""
    done = folder / "corpus.json"
    try:
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write(texts, reader, folder, length, progress)
            if whole_words:
                _join_words(folder, reader)
            done.write_text(json.dumps({"length": length}), encoding="utf-8")
    except OSError as error:
        raise disk_error(error, folder) or error from error
    start, first, text = (
        _opened(folder / f"{n}.i64", np.int64) for n in ("start", "first", "text")
    )
    ids = _opened(folder / "ids.i32", np.int32)
    return Passages(ids, _opened(folder / "word.bool", np.bool_), start, first, text)


def _opened(path: Path, kind: type[np.generic]) -> np.ndarray:
    if not path.stat().st_size:
        return np.empty(0, dtype=kind)
    return np.memmap(path, dtype=kind, mode="r")


def _write(
    texts: Iterable[str],
    reader: Reader,
    folder: Path,
    length: int,
    progress: Callable[[int], None] | None,
) -> None:
    """Encodes the texts, a few at a time."""
    unknown = np.array(sorted(reader.frame.unknown), dtype=np.int64)
    names = ("ids.i32", "word.bool", "start.i64", "first.i64", "text.i64")
    files: list[BinaryIO] = [(folder / name).open("wb") for name in names]
    ids_at = sentences = number = 0
    try:
        for some in _chunks(texts):
            ids, word, cut = _encoded(some, reader)
            for which in range(len(some)):
                own = slice(cut.start[which], cut.start[which + 1])
                if np.isin(ids[own], unknown, invert=True).any():
                    found = _passages(cut.sentence[own], length)
                    keep = [(s, e, b) for s, e, b in found if e - s >= SHORTEST]
                    for begin, end, breaks in keep:
                        at = slice(own.start + begin, own.start + end)
                        files[0].write(ids[at].tobytes())
                        files[1].write(word[at].tobytes())
                        files[2].write((ids_at + np.array(breaks, dtype=np.int64)).tobytes())
                        files[3].write(np.int64(sentences).tobytes())
                        files[4].write(np.int64(number).tobytes())
                        ids_at += end - begin
                        sentences += len(breaks)
                number += 1
            if progress is not None:
                progress(number)
        files[2].write(np.int64(ids_at).tobytes())
        files[3].write(np.int64(sentences).tobytes())
    finally:
        for file in files:
            file.close()


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    held: list[str] = []
    size = 0
    for text in texts:
        held.append(text)
        size += len(text)
        if len(held) >= ROWS or size >= SLICE:
            yield held
            held, size = [], 0
    if held:
        yield held


class _Cut(NamedTuple):
    """Where texts begin among ids, and whether a sentence begins with an id (bool)."""

    start: np.ndarray
    sentence: np.ndarray


def _encoded(texts: Sequence[str], reader: Reader) -> tuple[np.ndarray, np.ndarray, _Cut]:
    """Ids, whether a word begins with each, and where texts and sentences do."""
    encoded = reader.encode(texts, places=True)
    assert encoded.begin is not None
    assert encoded.end is not None
    word = np.ones(len(encoded.ids), dtype=bool)
    sentence = np.zeros(len(encoded.ids), dtype=bool)
    for which, text in enumerate(texts):
        own = slice(encoded.start[which], encoded.start[which + 1])
        begin, end = encoded.begin[own], encoded.end[own]
        word[own] = words.starts(text, begin, end)
        ends = [match.end() for match in SENTENCE.finditer(text)]
        at = np.unique(np.searchsorted(begin, [0, *ends]))
        sentence[own][at[at < len(begin)]] = True
    return encoded.ids, word, _Cut(encoded.start, sentence)


def _passages(sentence: np.ndarray, length: int) -> Iterator[tuple[int, int, list[int]]]:
    """Runs of a text's sentences of at most `length` ids (from, to, where in it each sentence
    begins); a longer sentence is cut."""
    edges = [*np.flatnonzero(sentence).tolist(), len(sentence)]
    if edges[0] > 0:
        edges.insert(0, 0)
    pieces = [
        (at, min(at + length, stop))
        for begin, stop in pairwise(edges)
        for at in range(begin, stop, length)
    ]
    begin, breaks = 0, [0]
    for at, stop in pieces[1:]:
        if stop - begin > length:
            yield begin, at, breaks
            begin, breaks = at, [0]
        else:
            breaks.append(at - begin)
    if pieces:
        yield begin, pieces[-1][1], breaks


def _join_words(folder: Path, reader: Reader) -> None:
    """Joins what the texts themselves show to be Chinese words."""
    tokens = [reader.tokenizer.id_to_token(i) for i in range(reader.vocabulary)]
    joinable = words.han_ids(tokens)
    if not joinable.any() or not (folder / "ids.i32").stat().st_size:
        return
    ids = np.memmap(folder / "ids.i32", dtype=np.int32, mode="r")
    word = np.memmap(folder / "word.bool", dtype=np.bool_, mode="r+")
    start = np.fromfile(folder / "start.i64", dtype=np.int64)[:-1]

    def slices() -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        for at in range(0, len(ids), SLICE):
            own = slice(at, min(at + SLICE, len(ids)))
            fresh = np.zeros(own.stop - own.start, dtype=bool)
            low, high = np.searchsorted(start, [own.start, own.stop])
            fresh[start[low:high] - own.start] = True
            yield own, np.asarray(ids[own]), fresh

    pairs = words.Pairs(joinable)
    for _own, some, fresh in slices():
        pairs.add(some, fresh)
    pairs.learn()
    for own, some, fresh in slices():
        word[own] &= ~words.joined(pairs.bits(some, fresh))
    word.flush()
