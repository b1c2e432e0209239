"""Mask: personal data goes, what looks like it stays, and a found value is never told."""

# ruff: noqa: E501, SIM905  (lists and patterns read better in long lines)
from __future__ import annotations

import logging
import re
import stat
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from stdnum import iban, luhn
from stdnum.cn import ric, uscc

from feilun.core.part import find
from feilun.core.records import SPANS
from feilun.stages.prepare.mask import Mask, checksums
from feilun.stages.prepare.mask.finder import Finder
from feilun.stages.prepare.mask.kinds import KINDS, NAMES
from feilun.stages.prepare.mask.step import KindName
from feilun.stages.prepare.mask.surrogates import MAKERS, MaskKeyDamaged, surrogate
from feilun.stages.prepare.normalise import Normalise
from feilun.wheel.runner import LocalRun
from tests.unit.stages.scratch import raw, scratch

SECRET = b"k" * 32


def masked(texts: list[str], folder: Path, **chosen: object) -> list[str]:
    return (
        Mask.model_validate(chosen)
        .apply(raw([(t, "x") for t in texts]), scratch(folder))["text"]
        .to_list()
    )


FOUND = [
    ("resident_id", "我的身份证号是{}，请核实", "11010519491231002X"),
    ("resident_id", "证件{}过期", "11010519491231002x"),
    ("resident_id", "老身份证{}", "110105491231002"),
    ("mobile", "打我电话{}吧", "13800138000"),
    ("mobile", "打我电话{}吧", "138 0013 8000"),
    ("mobile", "打我电话{}吧", "+86 138-0013-8000"),
    ("landline", "座机{}，谢谢", "010-62345678"),
    ("landline", "座机{}，谢谢", "(0755)23456789"),
    ("landline", "座机{}，谢谢", "021-62345678转802"),
    ("bank_card", "卡号{}。", "4111111111111111"),
    ("bank_card", "卡号{}。", "4111 1111 1111 1111"),
    ("bank_card", "my card {} was charged", "378282246310005"),
    ("passport", "护照号{}，后天走", "E12345678"),
    ("passport", "Passport No. {} expired", "EA1234567"),
    ("permit", "港澳通行证{}续签", "C12345678"),
    ("permit", "回乡证号码{}", "H12345678"),
    ("permit", "台胞证{}", "12345678"),
    ("company_code", "税号{}请核对", "91110000600037341L"),
    ("plate", "车牌{}挡路", "京A12345"),
    ("plate", "车牌{}挡路", "粤B·D12345"),
    ("plate", "车牌{}挡路", "沪AD12345"),
    ("email", "发到{}就行", "zhang.san+1@mail.corp.com.cn"),
    ("ip", "登录{}不是我", "10.20.30.40"),
    ("ip", "from {} at night", "2408:8207:1a2b::1"),
    ("url", "打开{}就能看", "https://a.cn/x?id=1&access_token=abc123def"),
    ("url", "see {} now", "ftp://bob:hunter22@files.a.cn/b"),
    ("account", "微信号：{}，备注", "zhang_san88"),
    ("account", "QQ：{}", "123456789"),
    ("address", "寄到{}，谢谢", "广东省深圳市南山区科技中路12号3栋2单元501室"),
    ("address", "我住在{}。", "海淀区中关村大街27号"),
    ("address", "I live at {}, come in", "221B Baker Street, London NW1 6XE"),
    ("name", "联系人：{}，谢谢", "王芳"),
    ("name", "请找{}女士", "欧阳娜娜"),
    ("name", "我叫{}，三十岁", "李晓明"),
    ("name", "Dear Mr. {}, hello", "John Smith"),
    ("name", "My name is {}.", "Mary O'Brien"),
    ("phone", "call {} today", "(212) 555-0123"),
    ("phone", "call {} today", "+44 20 7946 0958"),
    ("iban", "pay to {} please", "DE89 3704 0044 0532 0130 00"),
    ("ssn", "her SSN is {}.", "219-09-9999"),
]  # the standards' own examples, and made-up ones


@pytest.mark.parametrize(("kind", "around", "value"), FOUND)
def test_every_form_of_every_kind_is_masked_to_the_character(
    kind: str, around: str, value: str, tmp_path: Path
) -> None:
    assert masked([around.format(value)], tmp_path) == [around.format(f"[{kind.upper()}]")]


@pytest.mark.parametrize(("kind", "around", "value"), FOUND)
def test_a_surrogate_has_the_form_and_is_left_alone_the_second_time(
    kind: str, around: str, value: str, tmp_path: Path
) -> None:
    once = masked([around.format(value)], tmp_path, mode="surrogate")
    assert value not in once[0]
    assert masked(once, tmp_path, mode="surrogate") == once
    assert masked([around.format(value)], tmp_path, mode="surrogate") == once
    head, tail = (re.escape(part) for part in around.split("{}"))
    assert re.fullmatch(f"{head}.+{tail}", once[0])


def test_every_kind_is_tested_and_can_be_written() -> None:
    assert {kind for kind, _around, _value in FOUND} == set(NAMES) == set(MAKERS)
    assert set(KindName.__args__) == set(NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "订单号13800138000已发货",
        "订单202411220000001没动静",
        "编号110105194912310021不是证件",
        "单据110105194913310021",
        "测试卡4111111111111112无效",
        "参考编码91110000600037341M",
        "运单号SF1234567890123",
        "快递单号123456789012",
        "ISBN 978-7-111-12345-3有货吗",
        "版本10.0.19.45闪退",
        "Version 1.2.3.4 crashes",
        "固件 v1.2.3.4",
        "本机是127.0.0.1",
        "价格1299.00元，满300减50",
        "2024年11月22日12:30:45下单",
        "2024-11-22 to 2024-12-01",
        "型号A12345678的配件",
        "样品E12345678入库",
        "他很高兴，马上就方便去拿",
        "白云很美，王国里的人都温暖",
        "这个项目安全方便，客户满意",
        "老师高兴地表示欢迎，联系客服马上解决",
        "用户高度评价，找时间再说",
        "我是马上要出门的，方便的话打给我",
        "乘坐3路公交到10号线换乘",
        "走这条路3号出口右转",
        "我在5号楼开会",
        "看https://a.cn/item?id=12345678&page=2",
        "参数是@media screen",
        "Dear Customer, thanks for your order",
        "call Customer Service in New York",
        "std::vector::iterator, a::b::c",
        "微信支付成功，QQ音乐",
        "京东A1级配件",
        "Order 123-45-6789 is late",
    ],
)
def test_what_only_looks_like_it_stays(text: str, tmp_path: Path) -> None:
    assert masked([text], tmp_path) == [text]


def test_full_width_digits_are_found_after_normalising(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    frame = Normalise().apply(raw([("电话１３８００１３８０００", "x")]), run)
    assert Mask().apply(frame, run)["text"].to_list() == ["电话[MOBILE]"]


def test_several_in_one_text_in_two_languages(tmp_path: Path) -> None:
    text = "联系人：王芳，13800138000；Contact: John Smith, j.smith@a.com, 微信号wang_fang1"
    assert masked([text, "很好"], tmp_path) == [
        "联系人：[NAME]，[MOBILE]；Contact: [NAME], [EMAIL], 微信号[ACCOUNT]",
        "很好",
    ]


def test_only_the_chosen_kinds(tmp_path: Path) -> None:
    text = "13800138000 a@b.cn"
    assert masked([text], tmp_path, kinds=["email"]) == ["13800138000 [EMAIL]"]
    with pytest.raises(ValidationError):
        Mask.model_validate({"kinds": ["face"]})


def test_dropped_records_are_kept_without_the_data(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    kept = Mask(mode="drop").apply(raw([("电话13800138000", "x"), ("很好", "y")]), run)
    assert kept["text"].to_list() == ["很好"]
    assert run.dropped().select("text", "step", "reason").rows() == [
        ("电话[MOBILE]", "mask", "personal_data")
    ]


def test_it_is_a_part_and_a_null_text_stays(tmp_path: Path) -> None:
    assert find("step", "mask") is Mask
    rows = raw([(None, "x"), ("a@b.cn", None)]).with_columns(fields=pl.lit('{"a":1}'))
    assert Mask().apply(rows, scratch(tmp_path))["text"].to_list() == [None, "[EMAIL]"]
    assert Mask().apply(raw([]), scratch(tmp_path)).is_empty()


class Meter(LocalRun):
    spent: Counter[str]

    def spend(self, amount: float, what: str) -> None:
        self.spent[what] += int(amount)


def test_counts_are_told_per_kind(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    run.__class__ = Meter
    run.spent = Counter()  # type: ignore[attr-defined]
    Mask().apply(raw([("a@b.cn c@d.cn", "x"), ("13800138000", "x")]), run)
    assert run.spent == {"masked.email": 2, "masked.mobile": 1}  # type: ignore[attr-defined]


def test_no_value_reaches_a_log_or_a_repr(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    values = [value for _kind, _around, value in FOUND]
    texts = [around.format(value) for _kind, around, value in FOUND]
    with caplog.at_level(logging.DEBUG):
        for mode in ("placeholder", "surrogate", "drop"):
            step = Mask(mode=mode)
            step.apply(raw([(text, "x") for text in texts]), scratch(tmp_path))
            said = capsys.readouterr()
            told = repr(step) + repr(KINDS) + caplog.text + said.out + said.err
            assert not [value for value in values if value in told]


def test_the_key_is_its_owners_alone_and_decides(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first = masked(["13800138000"], one, mode="surrogate")
    path = one / ".feilun" / "mask.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert first != masked(["13800138000"], two, mode="surrogate")
    path.write_bytes(b"short")
    with pytest.raises(MaskKeyDamaged) as caught:
        masked(["13800138000"], one, mode="surrogate")
    assert "13800138000" not in str(caught.value)


def test_placeholders_need_no_key(tmp_path: Path) -> None:
    masked(["13800138000"], tmp_path)
    assert not (tmp_path / ".feilun" / "mask.key").exists()


def test_the_same_person_has_the_same_surrogate_however_written() -> None:
    ways = ["13800138000", "138 0013 8000", "+86 138-0013-8000"]
    assert len({checksums.digits(surrogate(SECRET, "mobile", way))[-11:] for way in ways}) == 1
    assert surrogate(SECRET, "mobile", "138 0013 8000")[3] == " "


@settings(max_examples=50, deadline=None)
@given(number=st.integers(0, 10**12))
def test_surrogates_keep_their_check_digits(number: int) -> None:
    value = f"{number:013}"
    identity = surrogate(SECRET, "resident_id", f"1101{value}X")
    assert ric.calc_check_digit(identity) == identity[-1]
    assert checksums.resident_id(identity)
    assert luhn.is_valid(surrogate(SECRET, "bank_card", f"622{value}"))
    assert uscc.is_valid(surrogate(SECRET, "company_code", f"9111{value}L"))
    assert iban.is_valid(surrogate(SECRET, "iban", f"DE89{value}00000"), check_country=False)


PIECES = st.sampled_from(
    [value for _kind, _around, value in FOUND]
    + "姓名 电话 联系 微信号 QQ 护照 台胞证 先生 说 收 在 王芳 路 号 12 a @ . : ： ， [NAME] - ( ) x 1 某".split()
    + [" ", "。", "Mr. ", "for "]
)


@pytest.mark.parametrize("mode", ["placeholder", "surrogate"])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.lists(PIECES, max_size=8).map("".join), min_size=1, max_size=5))
# Once the number is masked the space at the end is trimmed, and that makes the name one.
@example(texts=["11010519491231002X王芳 "])
def test_masking_twice_is_masking_once(mode: str, texts: list[str], tmp_path: Path) -> None:
    once = masked(texts, tmp_path, mode=mode)
    assert masked(once, tmp_path, mode=mode) == once


SPANS_ANYWHERE = st.lists(st.tuples(st.integers(-1, 60), st.integers(-1, 60)), max_size=3)


def with_spans(rows: list[tuple[str, list[tuple[int, int]]]]) -> pl.DataFrame:
    spans = [[{"start": a, "end": b, "label": "x"} for a, b in ranges] for _text, ranges in rows]
    frame = raw([(text, "x") for text, _ranges in rows])
    return frame.with_columns(spans=pl.Series(spans, dtype=SPANS))


@pytest.mark.parametrize("mode", ["placeholder", "surrogate", "drop"])
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(st.lists(PIECES, max_size=8).map("".join), SPANS_ANYWHERE),
        min_size=1,
        max_size=3,
    )
)
@example(rows=[("11010519491231002X", [(13, 13)])])
@example(rows=[("联系人：王芳 ，好的", [(6, 7), (4, 90)])])
def test_masking_twice_is_masking_once_with_spans(
    mode: str, rows: list[tuple[str, list[tuple[int, int]]]], tmp_path: Path
) -> None:
    step = Mask.model_validate({"mode": mode})
    once = step.apply(with_spans(rows), scratch(tmp_path))
    again = step.apply(once, scratch(tmp_path))
    assert again.select("text", "spans").rows() == once.select("text", "spans").rows()


@pytest.mark.parametrize("span", [(5, 5), (11, 3), (4, 90), (-3, 5), (3, 4)])
def test_a_span_on_nothing_hides_no_number(span: tuple[int, int], tmp_path: Path) -> None:
    found = Mask().apply(with_spans([("138 0013 8000", [span])]), scratch(tmp_path))
    assert found.select("text", "spans").rows() == [("[MOBILE]", None)]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_any_text_can_be_masked(texts: list[str], tmp_path: Path) -> None:
    assert len(masked(texts, tmp_path)) == sum(text != "" for text in texts)


HOSTILE = (
    "1 12- a a. a@ @ : 1: . 1.1. 京A 路1号 路 市 王 王先生 姓名： 姓名：王 和 Aa A1 http:// 12 号 北京市 1栋 说 QQ1 "
    "?key= ( +1"
).split()


@pytest.mark.parametrize(
    "unit", [*HOSTILE, "1 ", "Aa ", "1 A ", "Mr. A ", "for Aa ", "DE89 ", "收, "]
)
def test_a_long_hostile_text_takes_linear_time(unit: str) -> None:
    def seconds(length: int) -> float:
        text = (unit * length)[:length]
        start = time.perf_counter()
        for kind in KINDS:
            for _span in kind.search(text):
                pass
        return time.perf_counter() - start

    # Ten times the text, about ten times the time; a square would be a hundred.
    short = min(seconds(10_000) for _run in range(3))
    assert seconds(100_000) < max(30 * short, 1.0)


@pytest.mark.parametrize(("_kind", "around", "value"), FOUND)
def test_what_is_found_is_hinted_at(_kind: str, around: str, value: str) -> None:
    """The cheap tests of the column never hide what the search would find."""
    text = around.format(value)
    for kind in KINDS:
        if any(True for _span in kind.search(text)):
            assert re.search(kind.hint, text), (kind.name, around)
            assert re.search(kind.gate, text), (kind.name, around)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.lists(PIECES, max_size=6).map("".join), max_size=6))
def test_texts_searched_together_are_as_if_alone(texts: list[str]) -> None:
    together = {row: finds for row, _text, finds in Finder()(pl.Series(texts, dtype=pl.String))}
    alone = {
        row: finds
        for row, text in enumerate(texts)
        for _row, _text, finds in Finder()(pl.Series([text]))
    }
    assert together == alone


def test_many_batches_are_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series([around.format(value) for _kind, around, value in FOUND] + [None])
    whole = list(Finder()(texts))
    monkeypatch.setattr("feilun.stages.prepare.mask.finder.BATCH", 100)
    assert list(Finder()(texts)) == whole
    assert len(whole) == len(FOUND)


def test_spans_stay_on_what_they_were_on(tmp_path: Path) -> None:
    text = "联系人：王芳\n好的，13800138000"
    spans = [{"start": 0, "end": 6, "label": "user"}, {"start": 7, "end": 21, "label": "assistant"}]
    rows = raw([(text, None)]).with_columns(spans=pl.Series([spans], dtype=SPANS))
    made = Mask().apply(rows, scratch(tmp_path)).row(0, named=True)
    assert made["text"] == "联系人：[NAME]\n好的，[MOBILE]"
    assert [made["text"][s["start"] : s["end"]] for s in made["spans"]] == made["text"].split("\n")


def test_a_dropped_record_is_kept_masked_and_without_spans(tmp_path: Path) -> None:
    run = scratch(tmp_path)
    spans = [{"start": 0, "end": 11, "label": "x"}]
    rows = raw([("13800138000", None), ("  很好 ", "x")])
    rows = rows.with_columns(spans=pl.Series([spans, spans], dtype=SPANS))
    kept = Mask(mode="drop").apply(rows, run)
    assert kept["text"].to_list() == ["  很好 "]
    dropped = run.dropped()
    assert dropped.select("text", "reason", "spans").rows() == [("[MOBILE]", "personal_data", None)]


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("DE89 3704 0044 0532 0130 00", True),
        ("DE89370400440532013001", False),
        ("GB29NWBK60161331926819", True),
        ("GB2960161331926819NWBK", False),
        ("ZZ89370400440532013000", False),
    ],
)
def test_an_account_number_is_checked_as_stdnum_does(value: str, valid: bool) -> None:
    assert checksums.account_number(value) is valid is iban.is_valid(value, check_country=False)


def test_few_texts_are_looked_through_as_many_are() -> None:
    from feilun.stages.prepare.mask import finder

    texts = [sentence.format(value) for _kind, sentence, value in FOUND]
    kinds = list(enumerate(KINDS))
    few = [(at, rows.tolist()) for at, _kind, rows in finder._hinted_few(texts, kinds)]
    padded = pl.Series("text", [*texts, *[""] * (finder.FEW + 1)])
    many = [(at, rows.tolist()) for at, _kind, rows in finder._hinted(padded, kinds)]
    assert few == many
    assert len(few) == len(KINDS)
