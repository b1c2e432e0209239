"""Names are found where nothing announces them, and not where a word begins like one."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.stages.prepare.mask import surnames
from feilun.stages.prepare.mask.english import english_names
from feilun.stages.prepare.mask.finder import Finder
from feilun.stages.prepare.mask.scorer import (
    CLASSES,
    FIELDS,
    HAN,
    WEIGHTS,
    Scorer,
    Weights,
    no_weights,
    read,
    scorer,
    symbol,
    write,
)


def names(text: str, *, announced: bool = False) -> list[str]:
    places = scorer().names(pl.Series([text]), announced=announced)
    return [text[start:end] for _row, start, end, _score in places.tolist()]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("昨天李明辉来过，他很满意", ["李明辉"]),
        ("出席的有陈建国、王丽华、赵志强，别的人没来", ["陈建国", "王丽华", "赵志强"]),
        ("会后张晓梅把报告交给了刘志远", ["张晓梅", "刘志远"]),
        ("我昨天问过欧阳志远了", ["欧阳志远"]),
        ("记者周建军报道", ["周建军"]),
        ("王秀英的包裹送错了", ["王秀英"]),
    ],
)
def test_names_that_nothing_announces(text: str, found: list[str]) -> None:
    assert names(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "他很高兴，马上就方便去拿",
        "白云很美，王国里的人都很温暖",
        "这个项目安全方便，客户满意",
        "周末去黄山，石头很多，江南的水田真好看",
        "于是方案成熟，关于价格再谈",
        "高铁晚点，温泉也没泡成，白跑一趟",
        "司机师傅安全意识强，全程平安",
        "任何时候都不过时，关键是费用低",
        "张贴的海报太大",
        "赵某甲乙来过",
        "",
        "123 abc ,.!",
    ],
)
def test_words_that_only_begin_like_names(text: str) -> None:
    assert names(text) == []


def test_only_the_announced_when_asked_for() -> None:
    text = "李明辉来过。联系人：王秀英"
    assert names(text) == ["李明辉", "王秀英"]
    assert names(text, announced=True) == ["王秀英"]
    assert [len(finds) for _r, _t, finds in Finder(names="announced")(pl.Series([text]))] == [1]


def test_who_is_named_once_is_masked_everywhere() -> None:
    once = "那台电脑卢青用得多"
    assert names(once) == []
    assert names(f"我叫卢青。{once}") == ["卢青", "卢青"]


def test_a_list_tells_on_its_members() -> None:
    assert names("到场的有陈建国、卢青、王丽华") == ["陈建国", "卢青", "王丽华"]


def test_places_are_characters_and_rows_are_kept_apart() -> None:
    texts = pl.Series(["😀é 李明辉来过", None, "", "王", "秀英来过", "😀王秀英来过"])
    assert scorer().names(texts)[:, :3].tolist() == [[0, 3, 6], [5, 1, 4]]


def test_a_text_of_many_pieces_is_read_to_its_end() -> None:
    filler = "房间很干净，早餐也丰富。" * 60_000  # two pieces of a mebibyte and a rest
    text = "李明辉来过。" + filler + "王秀英的包裹送错了"
    found = scorer().names(pl.Series([text]))
    assert [text[a:b] for _r, a, b, _s in found.tolist()] == ["李明辉", "王秀英"]


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(
        st.text(
            st.sampled_from("王李欧阳司马小明建国某 、。：a1说先生😀")
            | st.characters(codec="utf-8"),
            max_size=30,
        ),
        max_size=6,
    )
)
def test_names_lie_in_their_texts_and_apart(texts: list[str]) -> None:
    last = (-1, 0)
    for row, start, end, _score in scorer().names(pl.Series(texts, dtype=pl.String)).tolist():
        assert (row, start) >= last
        assert 2 <= end - start <= 4
        assert all("一" <= character <= "\u9fff" for character in texts[row][start:end])
        assert "某" not in texts[row][start:end]
        last = (row, end)


@pytest.mark.parametrize(
    "unit", ["王", "王、", "欧阳", "王明", "明王、", "姓名：王", "李明辉来过", "某王"]
)
def test_a_long_hostile_text_takes_linear_time(unit: str) -> None:
    def seconds(length: int) -> float:
        texts = pl.Series([(unit * length)[:length]])
        start = time.perf_counter()
        scorer().names(texts)
        return time.perf_counter() - start

    short = min(seconds(20_000) for _run in range(3))
    assert seconds(200_000) < max(30 * short, 1.0)


def test_the_weights_are_written_as_they_are_read(tmp_path: Path) -> None:
    weights = read()
    write(weights, tmp_path / "again.gz", "notice\n\nmore")
    again = read(tmp_path / "again.gz")
    assert again.words == weights.words
    assert np.array_equal(again.symbols, weights.symbols)
    assert all(np.array_equal(again.tables[k], weights.tables[k]) for k in weights.tables)
    assert len(weights.words) > 50_000
    assert WEIGHTS.stat().st_size < 1_000_000


def test_every_candidate_is_described_for_fitting() -> None:
    found = Scorer(no_weights()).candidates(pl.Series(["王小明", "欧阳修来"]))
    assert found.shape[1] == FIELDS
    spans = {tuple(row) for row in found[:, :3].tolist()}
    assert {(0, 0, 2), (0, 0, 3), (1, 0, 3), (1, 0, 4)} <= spans


def test_a_weight_decides() -> None:
    made = no_weights()
    text = pl.Series(["王小明"])
    blank = Weights(made.symbols, made.words, made.tables)
    blank.tables["bias"][:] = -1000
    assert len(Scorer(blank, low=-2000).names(text)) == 0
    blank.symbols[symbol("王"), 1] = 2000
    assert Scorer(blank, low=-2000).names(text)[:, 1:].tolist() == [[0, 3, 1000]]


def test_symbols_are_numbered_as_in_c() -> None:
    assert symbol("一") == 0
    assert symbol("EDGE") == HAN == 20992
    assert symbol(CLASSES[-1]) == HAN + len(CLASSES) - 1


def test_cues_fit_into_a_key() -> None:
    groups = (surnames.STRONG, surnames.WEAK, surnames.TITLES, surnames.SPEECH, surnames.OPENERS)
    assert max(len(cue) for group in (*groups, surnames.DOUBLE) for cue in group) <= 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Dear John Smith, hello", ["John Smith"]),
        ("My name is Mary O'Brien.", ["Mary O'Brien"]),
        ("this is a New York thing", []),
        ("我的客户 Ann Lee 来电", ["Ann Lee"]),
        ("I am Peter Pan and she is Wendy Darling", ["Peter Pan"]),
        ("Contact Support Team on Monday", []),
        ("regards, Ann Lee Thanks", ["Ann Lee"]),
        ("请contact Ann Lee", ["Ann Lee"]),
    ],
)
def test_english_names(text: str, found: list[str]) -> None:
    assert [text[start:end] for start, end in sorted(set(english_names(text)))] == found


def test_order_of_texts_does_not_matter() -> None:
    texts = ["昨天李明辉来过", "联系人：王秀英", "很好", "到场的有陈建国、卢青"] * 3
    shuffled = random.Random(0).sample(texts, len(texts))
    alone = {t: scorer().names(pl.Series([t]))[:, 1:].tolist() for t in texts}
    found = scorer().names(pl.Series(shuffled))
    for row, text in enumerate(shuffled):
        assert found[found[:, 0] == row][:, 1:].tolist() == alone[text]
