"""From texts to matrices of ids: encoding once, windows over long texts, batches.

Only `tokenizers` and numpy are needed: training and predicting read by the same code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

PIECE = 65_536
"""Characters encoded in one go: a text of 1 MB costs no more memory than this at a time."""
GROUP = 1 << 20
"""Characters whose encodings are alive at the same time."""
MAX_WINDOWS = 64
"""Windows read of one text to judge it; of a longer one, this many, evenly spread from end to
end, so that a request of 1 MB costs at most 64 passes."""
LONE = re.compile("[\ud800-\udfff]")


class Frame(NamedTuple):
    """The ids that stand around texts: `before A after`, or `before A between B after`.

    `pad` fills up a matrix; `unknown` are the ids that say nothing about a text (special ones,
    the unknown piece); `kinds`: whether the network tells the texts of a pair apart by type ids.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    pad: int
    unknown: frozenset[int]
    kinds: bool = True

    @property
    def around_one(self) -> int:
        """Ids beside those of the text."""
        return len(self.before) + len(self.after)

    @property
    def around_two(self) -> int:
        """Ids beside those of the two texts of a pair."""
        return self.around_one + len(self.between)


class Encoded(NamedTuple):
    """Texts as ids, without what stands around them: text i is `ids[start[i]:start[i+1]]`.

    Pairs stand in it as two texts each: pair i is the texts 2i and 2i + 1. `begin` and `end`
    (code points of the text, one per id) are there where asked for.
    """

    ids: np.ndarray
    start: np.ndarray
    begin: np.ndarray | None = None
    end: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each text, int64."""
        return np.diff(self.start)


class Windows(NamedTuple):
    """Stretches of ids that are read at once: where each begins, how long it is, whose it is.

    `text` counts texts, or pairs when `second` (where the second text's stretch begins, how
    long it is) is there.
    """

    start: np.ndarray
    length: np.ndarray
    text: np.ndarray
    second: tuple[np.ndarray, np.ndarray] | None = None

    def at(self, rows: np.ndarray) -> Windows:
        """Some of them."""
        second = self.second and (self.second[0][rows], self.second[1][rows])
        return Windows(self.start[rows], self.length[rows], self.text[rows], second)

    @property
    def read(self) -> np.ndarray:
        """How many ids of texts each holds, without what stands around them."""
        return self.length if self.second is None else self.length + self.second[1]


class Matrix(NamedTuple):
    """One batch, int64 `[windows, longest]`: ids, mask (1: real), kinds (0 first, 1 second)."""

    ids: np.ndarray
    mask: np.ndarray
    kinds: np.ndarray


class Reader:
    """A tokenizer, what stands around texts, and how many ids are read at once."""

    def __init__(self, tokenizer: Tokenizer, frame: Frame, max_length: int) -> None:
        self.tokenizer, self.frame, self.max_length = tokenizer, frame, max_length

    @property
    def vocabulary(self) -> int:
        """How many entries an embedding needs: the highest id + 1."""
        return max(self.tokenizer.get_vocab().values(), default=-1) + 1

    def encode(
        self,
        texts: Sequence[str],
        progress: Callable[[int, int], None] | None = None,
        places: bool = False,
    ) -> Encoded:
        """Every text as ids (int32), in order; memory beside the result is bounded by `GROUP`.
        With `places`, each id's first and last + 1 code point in its text, int64."""
        ids: list[np.ndarray] = [np.empty(0, dtype=np.int32)]
        spans: list[np.ndarray] = [np.empty((0, 2), dtype=np.int64)]
        lengths = np.zeros(len(texts) + 1, dtype=np.int64)
        # Without places the library leaves out what it costs to follow them.
        call = self.tokenizer.encode_batch if places else self.tokenizer.encode_batch_fast
        for pieces, owners, offsets in _groups(texts, places):
            found = call(pieces, add_special_tokens=False)
            for owner, offset, encoding in zip(owners, offsets, found, strict=True):
                piece = np.array(encoding.ids, dtype=np.int32)
                ids.append(piece)
                lengths[owner + 1] += len(piece)
                if places:
                    span = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
                    spans.append(span + offset)
            if progress is not None:
                progress(owners[-1] + 1, len(texts))
        joined, start = np.concatenate(ids), np.cumsum(lengths)
        if not places:
            return Encoded(joined, start)
        both = np.concatenate(spans)
        return Encoded(joined, start, both[:, 0], both[:, 1])

    def known(self, encoded: Encoded) -> np.ndarray:
        """For each text, whether any of its ids says something."""
        says = ~np.isin(encoded.ids, list(self.frame.unknown))
        seen = np.concatenate([[0], np.cumsum(says)])
        result: np.ndarray = seen[encoded.start[1:]] > seen[encoded.start[:-1]]
        return result

    def windows(self, encoded: Encoded, most: int = MAX_WINDOWS, overlap: int = 0) -> Windows:
        """Every text cut into windows that fit `max_length` with what stands around them.

        A long text's windows are all of full length and evenly spread from its first token to
        its last, overlapping by `overlap` at least rather than leaving a stub; at most `most`
        (0: however many) of them.
        """
        body = self.max_length - self.frame.around_one
        lengths = encoded.lengths
        counts = 1 + -(-np.maximum(lengths - body, 0) // (body - overlap))
        if most:
            counts = np.minimum(counts, most)
        text, offset = _spread(counts, lengths, np.minimum(lengths, body))
        return Windows(encoded.start[:-1][text] + offset, np.minimum(lengths, body)[text], text)

    def overlapping(self, encoded: Encoded) -> Windows:
        """Windows over all of every text, of which neighbours share at least a quarter: for what
        is asked of each token."""
        body = self.max_length - self.frame.around_one
        return self.windows(encoded, most=0, overlap=body // 4)

    def pairs(self, encoded: Encoded, most: int = MAX_WINDOWS) -> Windows:
        """Every pair (texts 2i and 2i + 1) as one sequence, in windows where it is too long.

        The room is halved, and what one text leaves of its half the other has. The windows of
        both run from their first token to their last in as many steps.
        """
        body = self.max_length - self.frame.around_two
        first, second = encoded.lengths[::2], encoded.lengths[1::2]
        a = np.minimum(first, np.maximum(body - second, body // 2))
        b = np.minimum(second, body - a)
        counts = np.maximum(-(-first // np.maximum(a, 1)), -(-second // np.maximum(b, 1)))
        counts = np.clip(counts, 1, most or None)
        pair, at_a = _spread(counts, first, a)
        _pair, at_b = _spread(counts, second, b)
        starts = encoded.start[:-1]
        return Windows(
            starts[::2][pair] + at_a, a[pair], pair, (starts[1::2][pair] + at_b, b[pair])
        )

    def matrix(self, ids: np.ndarray, windows: Windows) -> Matrix:
        """One batch of windows over `ids`, as long as its longest."""
        frame = self.frame
        stretches = [(windows.start, windows.length)]
        if windows.second is not None:
            stretches.append(windows.second)
        around = frame.around_one if windows.second is None else frame.around_two
        total = windows.read + around
        shape = (len(windows.text), int(total.max(initial=around)))
        batch = np.full(shape, frame.pad, dtype=np.int64)
        kinds = np.zeros(shape, dtype=np.int64)
        row = np.arange(shape[0])
        batch[:, : len(frame.before)] = frame.before
        at = np.full(shape[0], len(frame.before))
        for number, (start, length) in enumerate(stretches):
            # One gather for the whole batch: a place in the matrix per id.
            whose = np.repeat(row, length)
            within = np.arange(len(whose)) - np.repeat(np.cumsum(length) - length, length)
            place = np.repeat(at, length) + within
            batch[whose, place] = ids[np.repeat(start, length) + within]
            last = number == len(stretches) - 1
            closing = frame.after if last else frame.between
            at = at + length
            for i, token in enumerate(closing):
                batch[row, at + i] = token
            at = at + len(closing)
            if number and frame.kinds:
                kinds[whose, place] = 1
                for i in range(len(closing)):
                    kinds[row, at - 1 - i] = 1
        mask = (np.arange(shape[1])[None, :] < total[:, None]).astype(np.int64)
        return Matrix(batch, mask, kinds)


def places(windows: Windows, before: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each id read by windows of one text, in their order: the window's number, the id's
    column in their matrix, and where it stands among all ids."""
    length = windows.length
    whose = np.repeat(np.arange(len(length)), length)
    within = np.arange(len(whose)) - np.repeat(np.cumsum(length) - length, length)
    return whose, within + before, np.repeat(windows.start, length) + within


def owned(windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Which ids each window answers for where windows overlap: those from where to where (last
    + 1). Neighbours meet halfway, so that each id is read with the most around it."""
    start, end = windows.start, windows.start + windows.length
    follows = np.concatenate([[False], windows.text[1:] == windows.text[:-1]])
    before = np.concatenate([[0], end[:-1]])
    low = np.where(follows, (start + before) // 2, start)
    high = np.where(np.append(follows[1:], False), np.append(low[1:], 0), end)
    return low, high


def open_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`; raises whatever the library does on bad bytes."""
    tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # What a user types is text, even when it spells "[SEP]".
    tokenizer.encode_special_tokens = True
    return tokenizer


def _spread(
    counts: np.ndarray, lengths: np.ndarray, read: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Whose each window is, and where in its text it begins: evenly from end to end."""
    text = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(text)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = (lengths - read)[text] / np.maximum(counts[text] - 1, 1)
    return text, np.rint(number * step).astype(np.int64)


def encodable(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 can hold, replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _groups(texts: Sequence[str], places: bool) -> Iterator[tuple[list[str], list[int], list[int]]]:
    """Pieces of texts, about `GROUP` characters at a time, with the texts they are of and where
    in them they begin."""
    pieces: list[str] = []
    owners: list[int] = []
    offsets: list[int] = []
    size = 0
    for owner, text in enumerate(texts):
        # Places need a character for each of the text's; `encodable` may join two.
        whole = LONE.sub("\ufffd", text) if places else encodable(text)
        for at in range(0, max(len(whole), 1), PIECE):
            pieces.append(whole[at : at + PIECE])
            owners.append(owner)
            offsets.append(at)
            size += len(pieces[-1]) + 64
            if size >= GROUP:
                yield pieces, owners, offsets
                pieces, owners, offsets, size = [], [], [], 0
    if pieces:
        yield pieces, owners, offsets
