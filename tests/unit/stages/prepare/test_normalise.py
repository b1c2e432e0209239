"""Normalise: one way to write the same text, and writing it twice is writing it once."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from feilun.stages.prepare import hanzi, mojibake
from feilun.stages.prepare.nfkc import plain
from feilun.stages.prepare.normalise import _MADE_SPACE, Normalise
from feilun.wheel.runner import LocalRun
from tests.unit.stages.prepare.steps import applied, apply
from tests.unit.stages.scratch import scratch


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> LocalRun:
    return scratch(tmp_path_factory.mktemp("normalise"))


def normalised(text: str, run: LocalRun, **settings_: object) -> str:
    step = Normalise.model_validate(settings_)
    return str(step.rewritten(pl.Series([text], dtype=pl.String), run)[0])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ＡＢＣ１２３！", "ABC123!"),
        ("  多  个\t\n空\u3000格  ", "多 个 空 格"),
        ("a\x00b\x1bc", "a b c"),
        ("\ufeffzero\u200bwidth", "zero width"),
        ("soft\u00adhyphen, left\u200e-to-right", "softhyphen, left-to-right"),
        ("敏\u200d感\u200c词", "敏感词"),
        ("👨\u200d👩\u200d👧 👩🏽\u200d🚀", "👨\u200d👩\u200d👧 👩🏽\u200d🚀"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("A\u00ad\u0301", "Á"),
        ("①②", "12"),
        ("´", "\u0301"),
        ("very good 👍", "very good 👍"),
    ],
)
def test_the_same_text_is_written_one_way(text: str, wanted: str, run: LocalRun) -> None:
    assert normalised(text, run) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cafÃ©", "café"),
        ("å¥½", "好"),
        ("è¿\x99ä¸ªå¾\x88å¥½", "这个很好"),
        ("itâ€™s", "it’s"),
        ("这是ä½\xa0å¥½的", "这是你好的"),
        ("浣犲ソ銆傚ソ鐨勶紝璋㈣阿", "你好。好的,谢谢"),
        ("cafÃƒÂ©", "café"),
    ],
)
def test_what_was_read_wrongly_is_read_again(text: str, wanted: str, run: LocalRun) -> None:
    assert normalised(text, run) == wanted
    assert normalised(text, run, mojibake=False) != wanted


@pytest.mark.parametrize(
    "text",
    ["«Café»", "naïve façade", "Ã", "São Paulo – Árbol", "銆", "鐨鐨", "50£ ½ Übel", "¿Qué?"],
)
def test_what_is_sound_is_not_mended(text: str, run: LocalRun) -> None:
    assert normalised(text, run) == normalised(text, run, mojibake=False)


def test_mojibake_of_every_kind_is_suspicious() -> None:
    """The cheap test may be wrong about sound texts, never about broken ones."""
    chinese = [chr(code) for code in range(0x4E00, 0x9FA6, 7)]
    latin = [chr(code) for code in range(0xC0, 0x180)]
    wrong = [
        letter.encode().decode("cp1252", errors="replace") for letter in (*chinese, *latin)
    ] + [letter.encode().decode("latin-1") for letter in (*chinese, *latin)]
    found = mojibake.suspicious(pl.Series([text for text in wrong if "\ufffd" not in text]))
    assert found.all()
    assert mojibake.suspicious(pl.Series(chinese)).sum() <= 4  # 锛 and its like themselves
    assert mojibake.suspicious(pl.Series([None, "a"])).to_list() == [None, False]


@pytest.mark.parametrize("bad", ["Ã", "Ã¤", "â€™", "a Ã", "å¥½", "锛", "浣犲ソ"])
def test_mending_takes_linear_time(bad: str, run: LocalRun) -> None:
    assert normalised(bad * 100_000, run)  # the limit is pytest's timeout


def test_traditional_characters_are_simplified_on_request_only(run: LocalRun) -> None:
    text = "乾隆年間的漢語,頭髮與發展,瞭望臺後面,薴"
    assert normalised(text, run) == text
    assert (
        normalised(text, run, traditional="simplify") == "乾隆年间的汉语,头发与发展,瞭望台后面,苎"
    )


def test_the_characters_of_each_script_are_opencc_s() -> None:
    traditional, simplified = hanzi.traditional(), hanzi.simplified()
    assert set("國這後頭髮漢") <= set(traditional)
    assert set("国这头发汉后里") <= set(simplified)
    assert not set("你好人大中") & set(traditional + simplified)
    assert not set(traditional) & set(simplified)
    assert all(hanzi.simplify(one) != one for one in traditional[::50])
    found = hanzi.with_traditional(pl.Series(["我們", "我们", "", None]))
    assert found.to_list() == [True, False, False, None]


def test_line_breaks_stay_if_asked_for(run: LocalRun) -> None:
    text = "\n 一 \r\n\r\n\t二\u3000三\u2028四\x0b\x00五 \n"
    assert normalised(text, run) == "一 二 三 四 五"
    assert normalised(text, run, lines="keep") == "一\n二 三\n四\n五"


def test_every_character_that_c_writes_is_written_as_unicode_has_it() -> None:
    """Between two letters: a space at an end would go."""
    every = pl.Series([f"a{chr(c)}b" for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000])
    fresh, left = plain(every)
    written = ~pl.int_range(len(every), eager=True).is_in(left.implode())
    assert written.sum() > 21_000
    wanted = [unicodedata.normalize("NFKC", text) for text in every.filter(written)]
    assert fresh.filter(written).to_list() == wanted


CHINESE = "a .，。！Ａ１…—“〇中文龥\u3000\u2011\u2017\n\tée\u0301\xa0😀"


@settings(deadline=None)
@given(
    texts=st.lists(
        st.none() | st.text(CHINESE, max_size=9),
        max_size=9,
    ),
    lines=st.sampled_from(["join", "keep"]),
)
def test_c_writes_what_the_expressions_write(texts: list[str | None], lines: str) -> None:
    step = Normalise(lines=lines)  # type: ignore[arg-type]
    column = pl.Series("text", texts, dtype=pl.String)
    assert step._written(column).to_list() == step._composed(column).to_list()


def test_every_character_that_nfkc_writes_with_a_space_is_known() -> None:
    """Or a text with it would not be tidied after NFKC; over all of Unicode."""
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    every = pl.Series([chr(code) for code in codes])
    spaced = every.filter(
        every.str.normalize("NFKC").str.contains(" ") & ~every.str.contains(r"\s")
    )
    assert spaced.str.contains(f"[{_MADE_SPACE}]").all()


@pytest.mark.parametrize("text", ["", "   ", "\n", "\u200b", "\x00", "\ufeff", None])
def test_what_is_empty_is_dropped_with_its_reason(text: str | None, tmp_path: Path) -> None:
    done = apply(Normalise(), [text, "y"], tmp_path)
    assert done.texts == ["y"]
    assert [reason for _text, reason in done.dropped] == ["empty"]


def test_a_record_without_text_but_with_fields_stays(tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": [None, " a "], "fields": ['{"age":3}', None]})
    assert applied(Normalise(), frame, tmp_path).texts == [None, "a"]


def test_what_it_is_given_stays_as_it_was(run: LocalRun) -> None:
    texts = pl.Series([" a ", "cafÃ©", "國", None])
    Normalise(traditional="simplify").rewritten(texts, run)
    assert texts.to_list() == [" a ", "cafÃ©", "國", None]


WRONG = st.text(max_size=8).map(lambda text: text.encode("utf-8").decode("latin-1"))
CHINESE = st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF), max_size=8)
GBK = CHINESE.map(lambda text: text.encode().decode("gb18030", errors="ignore"))
SEAMS = st.text(
    st.sampled_from("A\u0301\u00ad\u200b\u200d\u200c \n´Ã¤ﬁ㈱한가\u1100\u1161國薴👩🚀é\x00")
)
ANY = st.one_of(st.text(max_size=30), WRONG, GBK, SEAMS, st.tuples(SEAMS, WRONG).map("".join))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.one_of(ANY, st.none()), min_size=1, max_size=6),
    simplify=st.sampled_from(["keep", "simplify"]),
    lines=st.sampled_from(["join", "keep"]),
    mend=st.booleans(),
)
@example(texts=["Ａ\u0303¤"], simplify="keep", lines="join", mend=True)
def test_normalising_twice_is_normalising_once(
    run: LocalRun, texts: list[str | None], simplify: str, lines: str, mend: bool
) -> None:
    step = Normalise.model_validate({"traditional": simplify, "lines": lines, "mojibake": mend})
    once = step.rewritten(pl.Series(texts, dtype=pl.String), run)
    assert step.rewritten(once, run).to_list() == once.to_list()
    assert once.is_null().to_list() == [text is None for text in texts]
    for text in once.drop_nulls():
        assert text == text.strip()
        assert "  " not in text
        assert ("\n" in text) <= (lines == "keep")
        assert not any(unicodedata.category(c) == "Cc" and c != "\n" for c in text)
