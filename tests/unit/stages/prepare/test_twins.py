"""Twin keys: the fast way gives what the plain way gives, for every character."""

from __future__ import annotations

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feilun.core.compiled import KernelsMissing
from feilun.core.text import Texts
from feilun.stages.prepare.twins import keys, twin_key, twin_texts

EASY = st.characters(codec="ascii") | st.sampled_from(
    "好的很，。！？「」０Ａｚ～…“”—龥一\u3000々〆〇"
)
TEXT = st.text(EASY | st.characters(exclude_categories=["Cs"]), max_size=12)


def given_texts(frame: pl.DataFrame) -> list[str]:
    texts: Texts = twin_texts(frame)
    raw, ends = texts.content.tobytes(), texts.starts.tolist()
    return [raw[a:b].decode() for a, b in pairwise(ends)]


def plainly(frame: pl.DataFrame) -> list[str]:
    key = twin_key(pl.col("text")).fill_null(pl.col("fields")).fill_null("")
    return frame.select(key).to_series().to_list()


def frame_of(texts: list[str | None], fields: list[str | None] | None = None) -> pl.DataFrame:
    columns = {"text": texts, "fields": fields or [None] * len(texts)}
    return pl.DataFrame(columns, schema={"text": pl.String, "fields": pl.String})


def test_every_character_is_folded_as_unicode_has_it() -> None:
    every = [chr(c) for c in range(1, 0x30000) if not 0xD800 <= c < 0xE000]
    frame = frame_of([*every, *(f"a{character}b" for character in every)])
    assert given_texts(frame) == plainly(frame)


@given(texts=st.lists(st.none() | TEXT, max_size=8), fields=st.none() | st.just('{"a":1}'))
def test_texts_are_folded_as_the_expression_does(
    texts: list[str | None], fields: str | None
) -> None:
    frame = frame_of(texts, [fields] * len(texts))
    assert given_texts(frame) == plainly(frame)


def test_most_chinese_texts_are_folded_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise nothing above would notice that the fast way is never taken."""
    monkeypatch.setattr(keys, "_twin_keys", lambda texts: pytest.fail(f"the slow way: {texts}"))
    frame = frame_of(["这家酒店很好，下次还来！ＯＫ", "Nice room… 5 stars", "“不错”"])
    assert given_texts(frame) == ["这家酒店很好下次还来ok", "niceroom5stars", "不错"]


def test_a_missing_library_is_told_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LIBRARY", keys.LIBRARY.with_name("gone.so"))
    keys.load_kernel.cache_clear()
    with pytest.raises(KernelsMissing):
        twin_texts(frame_of(["a"]))
    keys.load_kernel.cache_clear()
