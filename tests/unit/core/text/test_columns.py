"""Columns of text: their bytes, and hashes that are the same everywhere."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.text import Texts, columns, hashed, strings, utf8

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=90)), max_size=20)


@settings(deadline=None)
@given(texts=TEXTS)
def test_every_text_is_its_bytes(texts: list[str | None]) -> None:
    given_texts = utf8(pl.Series(texts, dtype=pl.String))
    starts = given_texts.starts.tolist()
    assert given_texts.num == len(texts)
    parts = [given_texts.content[a:b].tobytes() for a, b in pairwise(starts)]
    assert parts == [(text or "").encode() for text in texts]


@settings(deadline=None)
@given(texts=TEXTS)
def test_bytes_become_texts_again(texts: list[str | None]) -> None:
    found = strings(utf8(pl.Series(texts, dtype=pl.String)))
    assert found.dtype == pl.String
    assert found.to_list() == [text or "" for text in texts]


def test_texts_that_do_not_begin_at_0_are_refused() -> None:
    content, starts = utf8(pl.Series(["one", "two"]))
    with pytest.raises(ValueError, match="begin at 0"):
        strings(Texts(content, starts[1:]))


def test_slices_and_copies_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series(["短", None, "", "a longer text than twelve bytes", "👍"] * 5)
    whole = utf8(texts)
    monkeypatch.setattr(columns, "_ROWS_PER_COPY", 3)
    pieces = utf8(texts)
    assert pieces.content.tobytes() == whole.content.tobytes()
    assert pieces.starts.tolist() == whole.starts.tolist()


@settings(deadline=None)
@given(texts=TEXTS)
def test_equal_texts_have_equal_hashes_and_others_do_not(texts: list[str | None]) -> None:
    found = hashed(pl.Series("key", texts, dtype=pl.String))
    assert (found.name, found.dtype) == ("key", pl.UInt64)
    assert found.n_unique() == len({text or "" for text in texts})


@pytest.mark.parametrize("size", [1, 7, 8, 31, 32, 33, 64, 100])
def test_one_bit_anywhere_changes_the_hash(size: int) -> None:
    texts = ["a" * at + "c" + "a" * (size - at - 1) for at in range(size)]
    texts += ["a" * size, "a" * (size + 1), "a" * size + "\x00"]
    assert hashed(pl.Series(texts)).n_unique() == len(texts)


def test_hashes_stay_what_they_are() -> None:
    """Stored beside records: another value is a broken promise."""
    texts = pl.Series(["", "a", "很好", "x" * 31, "x" * 32, "好" * 100, None])
    assert [f"{value:016x}" for value in hashed(texts)] == [
        "48218226ff3cd4bf",
        "3e506e5796335af0",
        "cab3533b87b8dfae",
        "504e2524900f3689",
        "99128c604cc53e18",
        "2a4a6d2a85c31c59",
        "48218226ff3cd4bf",
    ]
