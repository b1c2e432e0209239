"""Texts as ids, windows and matrices; the tokenizer."""

from __future__ import annotations

import subprocess
import sys

import numpy as np

from feilun.models.neural import wordpiece
from feilun.models.neural.reading import (
    MAX_WINDOWS,
    PIECE,
    Encoded,
    Reader,
    Windows,
    owned,
    places,
)
from feilun.models.neural.wordpiece import CLS, FRAME, PAD, SEP


def reader(max_length: int = 32) -> Reader:
    tokenizer = wordpiece.train(["ab c 你 好 xy"] * 3, 200, min_frequency=1)
    return Reader(tokenizer, FRAME, max_length)


def test_the_tokenizer_is_the_same_on_every_run() -> None:
    code = (
        "from feilun.models.neural import wordpiece as t\n"
        "import hashlib\n"
        "texts = [f'词{chr(0x4e00 + i)} word{i % 9} ab{i % 5}cd' for i in range(300)]\n"
        "print(hashlib.sha256(t.train(texts, 200, min_frequency=1).to_str().encode()).hexdigest())"
    )
    found = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        for _ in range(3)
    }
    assert len(found) == 1


def test_windows_cover_a_text_from_end_to_end() -> None:
    read = reader()
    encoded = Encoded(np.arange(5, 105, dtype=np.int32), np.array([0, 0, 3, 100]))
    found = read.windows(encoded)
    assert found.text.tolist() == [0, 1, 2, 2, 2, 2]
    assert found.length.tolist() == [0, 3, 30, 30, 30, 30]
    assert found.start.tolist() == [0, 0, 3, 25, 48, 70]
    matrix = read.matrix(encoded.ids, found)
    assert matrix.ids.shape == matrix.mask.shape == (6, 32)
    assert matrix.ids[1, :6].tolist() == [CLS, 5, 6, 7, SEP, PAD]
    assert matrix.mask.sum(axis=1).tolist() == [2, 5, 32, 32, 32, 32]
    huge = Encoded(np.zeros(10_000, dtype=np.int32), np.array([0, 10_000]))
    found = read.windows(huge)
    assert len(found.text) == MAX_WINDOWS
    assert int(found.start[-1]) + 30 == 10_000


def test_overlapping_windows_answer_for_every_id_once() -> None:
    encoded = Encoded(np.zeros(1000, dtype=np.int32), np.array([0, 7, 7, 500, 1000]))
    found = reader().overlapping(encoded)
    low, high = owned(found)
    answered = np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)])
    assert answered.tolist() == list(range(1000))
    assert (low >= found.start).all()
    assert (high <= found.start + found.length).all()
    same = found.text[1:] == found.text[:-1]
    assert ((found.start + found.length)[:-1] - found.start[1:])[same].min() >= 7
    whose, column, at = places(found, 1)
    assert (found.start[whose] + column - 1 == at).all()


def test_pairs_share_the_room_and_are_read_to_their_ends() -> None:
    read = reader(13)
    lengths = [2, 3, 4, 100, 30, 40, 0, 5]
    encoded = Encoded(np.arange(5, 5 + sum(lengths)), np.cumsum([0, *lengths]))
    found = read.pairs(encoded)
    assert found.second is not None
    assert int(found.read.max()) == 10
    for pair in range(4):
        mine = np.flatnonzero(found.text == pair)
        for text, start, length in (
            (2 * pair, found.start, found.length),
            (2 * pair + 1, *found.second),
        ):
            assert start[mine[0]] == encoded.start[text]
            assert start[mine[-1]] + length[mine[-1]] == encoded.start[text + 1]
    matrix = read.matrix(encoded.ids, found.at(np.array([0])))
    assert matrix.ids.tolist() == [[CLS, 5, 6, SEP, 7, 8, 9, SEP]]
    assert matrix.kinds.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]]


def test_places_are_code_points_of_the_text_itself() -> None:
    text = "你" * (PIECE - 1) + "\ud83d ab\udc00好"
    encoded = reader().encode(["ab", text], places=True)
    assert encoded.begin is not None
    assert encoded.end is not None
    assert text[encoded.begin[-1] : encoded.end[-1]] == "好"
    ids = encoded.ids[encoded.start[1] :]
    ab = reader().tokenizer.token_to_id("ab")
    at = encoded.start[1] + int(np.flatnonzero(ids == ab)[0])
    assert text[encoded.begin[at] : encoded.end[at]] == "ab"


def test_a_windows_rows_can_be_chosen() -> None:
    rows = Windows(np.arange(4), np.arange(4) + 1, np.arange(4), (np.arange(4), np.arange(4)))
    assert rows.at(np.array([2])).read.tolist() == [5]
