"""Encodings are told from real prose, and what does not fit one costs its own row."""

from __future__ import annotations

import codecs

import pytest

from feilun.stages.collect.reading import UnreadableEncoding
from feilun.stages.collect.reading.encodings import SAMPLE, detect
from tests.unit.stages.collect.collected import parsed

# The opening of 《紅樓夢》 (1791) and of 魯迅《故鄉》 (1921), and two reviews of a hotel.
TRADITIONAL = [
    "此開卷第一回也。作者自云：因曾歷過一番夢幻之後，故將真事隱去，而借通靈之說，撰此石頭記一書也。",
    "我冒了嚴寒，回到相隔二千餘里，別了二十餘年的故鄉去。時候既然是深冬；漸近故鄉時，天氣又陰晦了。",
    "房間很乾淨，服務也很好，下次還會再來。",
    "早餐種類太少，隔音也差，價格偏貴，不推薦。",
]
SIMPLIFIED = [
    "此开卷第一回也。作者自云：因曾历过一番梦幻之后，故将真事隐去，而借通灵之说，撰此石头记一书也。",
    "我冒了严寒，回到相隔二千余里，别了二十余年的故乡去。时候既然是深冬；渐近故乡时，天气又阴晦了。",
    "房间很干净，服务也很好，下次还会再来。",
    "早餐种类太少，隔音也差，价格偏贵，不推荐。",
]
ENGLISH = ["The room was clean, the staff friendly.", "Breakfast: 2 out of 5; noisy at night."]
TEXTS = {"zh": SIMPLIFIED, "zh-Hant": TRADITIONAL, "en": ENGLISH, "both": SIMPLIFIED + ENGLISH}


@pytest.mark.parametrize("texts", TEXTS)
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "gb18030", "gbk", "big5", "utf-16", "utf-16-le", "utf-16-be", "utf-32"],
)
@pytest.mark.parametrize("form", ["csv", "jsonl", "text"])
def test_every_encoding_gives_the_same_texts(encoding: str, texts: str, form: str) -> None:
    lines = TEXTS[texts]
    if encoding == "big5" and texts in {"zh", "both"}:
        return  # Big5 has no simplified characters
    content = {
        "csv": "text\n" + "".join(f'"{line}"\n' for line in lines),
        "jsonl": "".join(f'{{"text": "{line}"}}\n' for line in lines),
        "text": "\n".join(lines),
    }[form]
    rows, bad = parsed(content.encode(encoding), form, block=64)
    assert [row["text"] for row in rows] == lines
    assert not bad


@pytest.mark.parametrize("line", SIMPLIFIED + TRADITIONAL)
def test_one_sentence_is_enough(line: str) -> None:
    assert detect(line.encode("gb18030"), "x", whole=True) == "gb18030"
    if line in TRADITIONAL:
        assert detect(line.encode("big5"), "x", whole=True) == "big5hkscs"


def test_a_sample_may_end_inside_of_a_character() -> None:
    for encoding in ("utf-8", "gb18030", "big5hkscs"):
        content = ("很" + TRADITIONAL[0]).encode(encoding)
        for end in range(40, 60):
            assert detect(content[:end], "x", whole=False) == encoding


@pytest.mark.parametrize(
    ("encoding", "bad"),
    [("utf-8", b"\xe4\xb8"), ("gb18030", b"\xff"), ("big5", b"\xff"), ("utf-16-le", b"\x00\xd8")],
)
def test_what_does_not_fit_costs_its_row(encoding: str, bad: bytes) -> None:
    lines = [line.encode(encoding) for line in TRADITIONAL * 5]
    lines[7] += bad
    rows, told = parsed("\n".encode(encoding).join(lines), "text", block=33)
    assert told == [(8, "not_text")]
    assert [row["text"] for row in rows] == (TRADITIONAL * 5)[:7] + (TRADITIONAL * 5)[8:]
    assert [row["_row"] for row in rows] == [n for n in range(1, 21) if n != 8]


def test_nuls_in_utf8_are_not_utf16() -> None:
    rows, told = parsed("a\0b\n很好\nc\n", "text")
    assert told == [(1, "not_text")]
    assert [row["text"] for row in rows] == ["很好", "c"]


@pytest.mark.parametrize(
    "content",
    [
        "Voilà le café d'été à Nîmes, très agréable.\n".encode("latin-1") * 20,
        "これは日本語の文章です。とても良い製品でした。\n".encode("shift-jis") * 20,
        "이 제품은 정말 좋습니다. 배송도 빠르고요.\n".encode("euc-kr") * 20,
        bytes(range(128, 256)) * 20,
        b"text,label\n\xff\xff\xff",
    ],
)
def test_another_encoding_is_refused_and_not_guessed(content: bytes) -> None:
    with pytest.raises(UnreadableEncoding, match=r"Big5 / UTF-16: byte \d+ does") as caught:
        parsed(content, "text")
    assert "iconv" in (caught.value.remedy or "")


def test_a_named_encoding_is_used_and_only_that() -> None:
    content = "text,label\ncafé au lait,x\n".encode("latin-1")
    rows, _told = parsed(content, "csv", encoding="latin-1")
    assert rows[0]["text"] == "café au lait"
    with pytest.raises(UnreadableEncoding, match="x is not text in utf-8: byte 14"):
        parsed(content, "csv", encoding="utf-8")
    for name in ("no-such-encoding", "hex", "zlib", "rot13", "undefined"):
        with pytest.raises(UnreadableEncoding):
            parsed(content, "csv", encoding=name)


def test_a_mark_is_not_part_of_the_text() -> None:
    for name in ("auto", "utf-8", "utf-8-sig"):
        rows, _told = parsed(codecs.BOM_UTF8 + b"text\nx\n", "csv", encoding=name)
        assert rows == [{"text": "x", "_row": 1}]


def test_separators_inside_a_json_string_do_not_cut_the_line() -> None:
    """`str.splitlines` would: JSON allows U+2028, U+2029 and U+0085 as they are."""
    text = "前\u2028后\u2029再\x85后"
    rows, _told = parsed(f'{{"text": "{text}"}}', "jsonl")
    assert rows == [{"text": text, "_row": 1}]


def test_a_sample_of_ascii_is_taken_for_utf8() -> None:
    content = b"a\n" * SAMPLE + "很好\n".encode("gb18030")
    rows, told = parsed(content, "text")
    assert told == [(SAMPLE + 1, "not_text")]
    assert len(rows) == SAMPLE
