"""Filter: what is dropped by form, with which reason, and what passes."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feilun.core.errors import FeilunError
from feilun.stages.prepare.filter import Filter, StopListMissing, StopListUnreadable, with_word
from feilun.stages.prepare.repetition import GRAM, repeated_share
from tests.unit.stages.prepare.steps import apply


def test_only_lengths_are_looked_at_by_default(tmp_path: Path) -> None:
    texts = ["", "a", "👍" * 50, "哈" * 100, "x" * 100_000, "x" * 100_001, None]
    done = apply(Filter(), texts, tmp_path)
    assert done.texts == [texts[1], texts[2], texts[3], texts[4], None]
    assert done.dropped == [("", "too_short"), (texts[5], "too_long")]


def test_lengths_are_characters_and_both_limits_pass(tmp_path: Path) -> None:
    done = apply(Filter(shorter_than=2, longer_than=3), ["好", "好的", "👍👍👍", "abcd"], tmp_path)
    assert done.texts == ["好的", "👍👍👍"]
    assert done.dropped == [("好", "too_short"), ("abcd", "too_long")]


def test_limits_that_let_nothing_pass_are_refused() -> None:
    with pytest.raises(ValidationError, match="longer_than"):
        Filter(shorter_than=10, longer_than=9)


def test_of_several_reasons_the_first_is_told(tmp_path: Path) -> None:
    step = Filter(longer_than=30, repetition=0.3, symbols=0.3, stop_list=("哈",))
    texts = ["哈" * 31, "哈" * 30, "★☆★☆哈", "哈", "好"]
    assert [reason for _text, reason in apply(step, texts, tmp_path).dropped] == [
        "too_long", "repetitive", "symbols", "stop_listed",
    ]  # fmt: skip


def test_symbols_are_what_is_neither_letter_digit_punctuation_nor_space(tmp_path: Path) -> None:
    texts = ["好！？。《》12 ab", "★好", "★★好", "é한ไท१", "😀😀a", "$5", "│─│a", None]
    done = apply(Filter(symbols=0.5), texts, tmp_path)
    assert [text for text, _reason in done.dropped] == ["★★好", "😀😀a", "│─│a"]


def share(text: str) -> float:
    """The same by the letter of the definition."""
    covered, seen = set(), set()
    for at in range(len(text) - GRAM + 1):
        gram = text[at : at + GRAM]
        if gram in seen:
            covered |= set(range(at, at + GRAM))
        seen.add(gram)
    return len(covered) / len(text) if text else 0.0


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(
        st.one_of(
            st.none(),
            st.text(max_size=40),
            st.text(st.sampled_from("ab好"), max_size=80),
            st.lists(st.sampled_from(["一句说了又说的话。", "另一句", "x" * 9]), max_size=8).map(
                "".join
            ),
        ),
        max_size=6,
    )
)
def test_repetition_is_what_the_definition_says(texts: list[str | None]) -> None:
    found = repeated_share(pl.Series(texts, dtype=pl.String))
    assert found.to_list() == pytest.approx([share(text or "") for text in texts])


def test_repetition_over_many_texts_does_not_mix_them(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    once = "".join(chr(draw.randrange(0x4E00, 0x9FA6)) for _ in range(300))
    texts = pl.Series([once] * 40 + [once * 2, "", "短"])
    whole = repeated_share(texts).to_list()
    assert whole[:40] == [0.0] * 40
    assert whole[40:] == [0.5, 0.0, 0.0]
    monkeypatch.setattr("feilun.stages.prepare.repetition._BLOCK", 500)
    assert repeated_share(texts).to_list() == whole


def test_what_says_the_same_over_and_over_is_dropped(tmp_path: Path) -> None:
    review = "外观可以，整体配置不错，已改系统，"
    texts = [review, review * 3, "不错" * 20, "房间很大，服务也好，早餐丰富，下次还会再来这里住。"]
    done = apply(Filter(repetition=0.3), texts, tmp_path)
    assert done.texts == [texts[0], texts[3]]
    assert {reason for _text, reason in done.dropped} == {"repetitive"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("遇到骗子了", True), ("用VPN翻墙", True), ("vpn!", True), ("vpns", False),
        ("myvpn", False),
        ("ＶＰＮ", False), ("vpn_x", False), ("ÉCOLE", True), ("écoles", False), ("a.b", False),
        ("c++", True), ("c++11", True), ("xc++", False), ("", False), (None, False),
        ("éVPN", False),
    ],
)  # fmt: skip
def test_words_of_the_stop_list_are_words(text: str | None, found: bool) -> None:
    words = ["vpn", "骗子", "école", "c++"]
    assert with_word(pl.Series([text], dtype=pl.String), words).to_list() == [found]


def test_the_stop_list_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "stop.txt").write_text("\ufeff骗子  # 诈骗\r\n\n# 空\nSpam\n", encoding="utf-8")
    step = Filter(stop_list=("垃圾",), stop_file="stop.txt")
    done = apply(step, ["骗子", "SPAM", "垃圾站", "spammer", "空"], tmp_path)
    assert done.texts == ["spammer", "空"]
    assert step.reads(tmp_path) == (tmp_path / "stop.txt",)
    assert Filter().reads(tmp_path) == ()


def test_a_bad_stop_list_is_told_before_the_first_record(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("école".encode("latin-1"))
    (tmp_path / "folder").mkdir()
    for name, wanted in (
        ("no.txt", StopListMissing), ("latin.txt", StopListUnreadable), ("folder", FeilunError),
    ):  # fmt: skip
        with pytest.raises(wanted) as caught:
            apply(Filter(stop_file=name), ["a"], tmp_path)
        assert caught.value.remedy
        assert name in caught.value.message


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(max_size=30), max_size=8), order=st.randoms(use_true_random=False))
def test_a_record_s_fate_depends_on_it_alone(
    texts: list[str], order: random.Random, tmp_path_factory: pytest.TempPathFactory
) -> None:
    step = Filter(shorter_than=2, longer_than=20, repetition=0.2, symbols=0.2, stop_list=("a",))
    folder = tmp_path_factory.mktemp("order")
    together = apply(step, texts, folder).texts
    assert together == [text for text in texts if apply(step, [text], folder).texts]
    shuffled = list(texts)
    order.shuffle(shuffled)
    assert sorted(filter(None, apply(step, shuffled, folder).texts)) == sorted(
        filter(None, together)
    )
