"""Tables: which layout a chunk has, and the layouts that are tables."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.core.records import conform
from feilun.stages.collect import layouts
from feilun.stages.collect.columns import ColumnMissing
from feilun.stages.collect.layouts.times import parsed
from feilun.stages.collect.source import Quarantine
from tests.unit.stages.collect.layouts import WHERE, numbered, raw_json, records

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
SHARED = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
TASK = {
    "id": 1,
    "data": {"text": "很好"},
    "annotations": [
        {"result": [{"type": "choices", "from_name": "s", "value": {"choices": ["好"]}}]}
    ],
}
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "alpaca": [{"instruction": "翻译", "input": "hi", "output": "你好"}],
    "sharegpt": [{"conversations": SHARED, "system": "s"}],
    "messages": [{"messages": CHAT, "tools": [{"type": "function"}]}],
    "preference": [{"prompt": CHAT[:1], "chosen": CHAT[1:], "rejected": CHAT[1:]}],
    "completion": [{"prompt": CHAT[:1], "completion": CHAT[1:], "label": True}],
    "conll": [{"tokens": ["我", "在"], "ner_tags": ["O", "O"]}],
    "spans": [{"text": "我在北京", "entities": []}, {"text": "他", "entities": [[0, 1, "人"]]}],
    "label_studio": [TASK],
    "labelled": [{"text": "很好", "label": ["正面", "推荐"]}],
    "interactions": [{"user_id": "u1", "item_id": "i1", "timestamp": "1700000000"}],
    "pairs": [{"sentence1": "怎么退货", "sentence2": "如何退款", "label": "1"}],
    "tabular": [{"age": str(n), "income": str(n * 7.5), "city": "北京"} for n in range(9)],
}


@pytest.mark.parametrize("layout", EXAMPLES)
def test_a_layout_is_told_from_names_and_values(layout: str) -> None:
    assert set(EXAMPLES) == set(layouts.LAYOUTS)
    chunk = raw_json(EXAMPLES[layout])
    assert layouts.detect(chunk) == layout
    assert layouts.shaped(chunk, layout, {}, WHERE, Quarantine()).height == chunk.height


@pytest.mark.parametrize(
    ("rows", "layout"),
    [
        ([{"messages": SHARED}], "sharegpt"),
        ([{"conversations": CHAT}], "messages"),
        ([{"对话": CHAT}], "messages"),
        ([{"conversations": SHARED, "chosen": SHARED[1], "rejected": SHARED[1]}], "preference"),
        ([{"指令": "翻译", "输入": "", "输出": "你好"}], "alpaca"),
        ([{"prompt": "天空是", "response": "蓝的"}], "completion"),
        ([{"text": "北京好", "label": [[0, 2, "地名"]]}], "spans"),
        ([{"text": "北京好", "label": {"address": {"北京": [[0, 1]]}}}], "spans"),
        ([{"text": "北京好", "spans": [{"start": 0, "end": 2, "label": "GPE"}]}], "spans"),
        ([{"text": "北京好", "labels": ["a", "b"]}], "labelled"),
        ([{"text": "EU O"}, {"text": ""}], "labelled"),
        ([{"text": t} for t in ("EU B-ORG", "is O", "", "in I-X", "it O")], "conll"),
        ([{"annotation_id": 4, "annotator": 1, "lead_time": 2.5, "t": "x", "s": "y"}],
         "label_studio"),
        ([{"用户": "u", "商品": "i", "评分": "5"}], "interactions"),
        # a review is a text, whoever wrote it
        ([{"user_id": "u", "asin": "i", "review": "很好用", "rating": "5"}], "labelled"),
        ([{"a": "1", "b": f"物流很快包装也好 {n}"} for n in range(9)], "labelled"),
        ([{"a": "x", "b": "y"}], "labelled"),
        ([{"messages": "plain text"}], "labelled"),
        ([{}], "labelled"),
        ([], "labelled"),
    ],
)  # fmt: skip
def test_layouts_that_look_alike_are_told_apart(rows: list[dict[str, Any]], layout: str) -> None:
    assert layouts.detect(raw_json(rows)) == layout


def test_a_column_named_as_the_text_is_believed() -> None:
    chunk = raw_json(EXAMPLES["tabular"])
    assert layouts.detect(chunk, {"text": "city"}) == "labelled"
    assert layouts.detect(raw_json([{"x": SHARED}]), {"messages": "x"}) == "sharegpt"


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["text", "label", "messages", "data", "annotations", "spans"]),
            st.one_of(
                st.none(), st.text(max_size=9), st.integers(), st.lists(st.integers(), max_size=2),
                st.lists(st.lists(st.text(max_size=2), max_size=3), max_size=2),
                st.just("[" * 50_000),
            ),
        ),
        max_size=5,
    )
)  # fmt: skip
def test_detecting_and_shaping_never_fail_on_odd_values(rows: list[dict[str, Any]]) -> None:
    chunk = raw_json(rows)
    assert layouts.detect(chunk) in layouts.LAYOUTS
    for layout, needed in (("messages", "messages"), ("label_studio", "data"), ("spans", "text")):
        if needed in chunk.columns:
            quarantine = Quarantine()
            frame = layouts.shaped(chunk, layout, {}, WHERE, quarantine)
            assert frame.height + quarantine.counts.total() == chunk.height


def test_parquet_is_told_and_shaped_with_its_types() -> None:
    chunk = numbered(pl.DataFrame({"messages": [CHAT, None], "id": [7, 8]}))
    assert layouts.detect(chunk) == "messages"
    quarantine = Quarantine()
    (only,) = records(chunk, "messages", quarantine)
    assert only["text"] == "hi\nhello"
    assert only["fields"] == {"id": 7}
    assert quarantine.counts == {"not_messages": 1}


def test_a_labelled_table_maps_its_columns() -> None:
    chunk = raw_json(
        [
            {"评论": "很好", "星级": " 5 ", "用户": "u1", "日期": "2024-01-31", "编号": "007"},
            {"评论": "一般", "星级": "", "用户": None, "日期": "?", "编号": "8"},
            {"评论": None, "星级": "1"},
        ]
    )
    quarantine = Quarantine()
    good, so_so, empty = records(
        chunk, "labelled", quarantine,
        text="评论", label="星级", group="用户", time="日期", id="编号",
    )  # fmt: skip
    assert (good["text"], good["label"], good["group"], good["row"]) == ("很好", "5", "u1", 1)
    assert good["time"] == datetime(2024, 1, 31, tzinfo=UTC)
    assert good["fields"] == {"id": "007"}, "a code is no number"
    assert (so_so["label"], so_so["group"], so_so["time"]) == (None, None, None)
    assert empty["text"] == "", "for prepare to drop"
    assert [(bad.row, bad.reason) for bad in quarantine.shown] == [(2, "bad_time")]


def test_text_and_label_are_guessed_and_the_guess_can_be_kept() -> None:
    chunk = raw_json(
        [{"id": str(n), "内容": f"第 {n} 句话", "标签": "ab"[n % 2]} for n in range(9)]
    )
    kept = layouts.resolved(chunk, "labelled", {}, WHERE)
    assert kept == {"text": "内容", "label": "标签"}
    assert layouts.resolved(chunk, "labelled", kept, WHERE) == kept
    assert records(chunk, "labelled")[1]["label"] == "b"
    with pytest.raises(ColumnMissing, match="内客"):
        layouts.shaped(chunk, "labelled", {"text": "内客"}, WHERE, Quarantine())
    with pytest.raises(ColumnMissing, match="has no column 'chosen'"):
        layouts.shaped(chunk, "preference", {}, WHERE, Quarantine())


def test_a_list_of_labels_is_kept_whole() -> None:
    rows = [{"text": "a", "label": ["x", "y"]}, {"text": "b", "label": ["z"]},
            {"text": "c", "label": []}, {"text": "d", "label": "[draft] w"}]  # fmt: skip
    many, one, none, plain = records(raw_json(rows), "labelled", text="text", label="label")
    assert (many["label"], many["fields"]) == (None, {"labels": ["x", "y"]})
    assert (one["label"], one["fields"]) == ("z", {"labels": ["z"]})
    assert (none["label"], none["fields"]) == (None, {"labels": []})
    assert (plain["label"], plain["fields"]) == ("[draft] w", None)
    typed = numbered(pl.DataFrame({"text": ["a", "b"], "label": [["x", "y"], None], "n": [1, 2]}))
    many, none = records(typed, "labelled", text="text", label="label", n="n")
    assert many["fields"] == {"labels": ["x", "y"], "n": 1}
    assert (none["label"], none["fields"]) == (None, {"n": 2})


def test_a_text_column_of_lists_has_no_text() -> None:
    quarantine = Quarantine()
    chunk = numbered(pl.DataFrame({"text": [["a"]], "label": ["x"]}))
    assert records(chunk, "labelled", quarantine, text="text") == []
    assert quarantine.counts == {"no_text": 1}


def test_a_row_of_a_table_becomes_its_features() -> None:
    chunk = raw_json(
        [
            {"城市": '北"京', "age": " 42 ", "zip": "0100", "card": "6222020200112230484",
             "r": "1e3", "g": "1e999", "target": " yes "},
            {"城市": "", "age": None, "target": "no"},
        ]
    )  # fmt: skip
    quarantine = Quarantine()
    (row,) = records(chunk, "tabular", quarantine)
    assert row["text"] is None
    assert row["label"] == "yes"
    assert row["fields"] == {
        "age": 42, "card": "6222020200112230484", "g": "1e999", "r": 1000.0,
        "zip": "0100", "城市": '北"京',
    }  # fmt: skip
    assert quarantine.counts == {"empty_row": 1}, "a label alone teaches nothing"
    assert quarantine.shown[0].row == 2


def test_a_typed_table_keeps_its_types() -> None:
    chunk = numbered(
        pl.DataFrame(
            {
                "n": [1, None], "x": [0.5, float("nan")], "ok": [True, False],
                "d": [date(2024, 1, 31), None], "raw": [b"\x00", b""], "l": [[1, 2], []],
                "c": pl.Series(["a", "b"], dtype=pl.Categorical), "y": ["p", "q"],
            }
        )
    )  # fmt: skip
    first, second = records(chunk, "tabular")
    assert first["fields"] == {
        "c": "a", "d": "2024-01-31", "l": [1, 2], "n": 1, "ok": True, "x": 0.5,
    }  # fmt: skip
    assert second["fields"] == {"c": "b", "d": None, "l": [], "n": None, "ok": False, "x": None}
    assert [first["label"], second["label"]] == ["p", "q"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(), st.one_of(st.none(), st.text())), min_size=1))
def test_any_cells_make_json_that_says_the_same(cells: list[tuple[str, str | None]]) -> None:
    chunk = numbered(
        pl.DataFrame({"k": [a for a, _b in cells], "v\n": [b for _a, b in cells]},
                     schema={"k": pl.String, "v\n": pl.String})
    )  # fmt: skip
    frame = layouts.shaped(chunk, "tabular", {}, WHERE, Quarantine())
    for row, fields in frame.select("row", "fields").rows():
        found = json.loads(fields)
        for name, cell in zip(("k", "v\n"), cells[row - 1], strict=True):
            value = found[name]
            if isinstance(value, str):
                assert value == cell
            elif value is not None:
                assert cell is not None
                assert float(cell) == value


def test_interactions_are_users_items_and_times() -> None:
    chunk = raw_json(
        [
            {"用户ID": "00012", "商品": "9", "行为": "购买", "评分": "4.5", "时间": "1706659200"},
            {"用户ID": "u2", "商品": "9", "行为": "浏览", "评分": "", "时间": "昨天"},
            {"用户ID": " ", "商品": "9", "行为": "浏览", "评分": "", "时间": ""},
        ]
    )
    quarantine = Quarantine()
    bought, seen = records(chunk, "interactions", quarantine)
    assert (bought["text"], bought["group"], bought["row"]) == (None, "00012", 1)
    assert bought["time"] == datetime(2024, 1, 31, tzinfo=UTC)
    assert bought["fields"] == {"event": "购买", "item": "9", "user": "00012", "value": 4.5}
    assert (seen["time"], seen["fields"]["value"]) == (None, None)
    assert quarantine.counts == {"no_interaction": 1, "bad_time": 1}
    titled = numbered(pl.DataFrame({"user": [1], "item": [2], "title": ["灯"], "ts": [1.7e9]}))
    assert layouts.detect(titled) == "interactions"
    (lamp,) = records(titled, "interactions", text="title")
    assert (lamp["text"], lamp["group"]) == ("灯", "1")
    assert lamp["fields"] == {"item": "2", "user": "1"}
    assert lamp["time"] == datetime.fromtimestamp(1.7e9, UTC)


AT = datetime(2024, 1, 31, 15, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-01-31T15:05:09Z", AT),
        ("2024-01-31 23:05:09+08:00", AT),
        ("2024-01-31T10:05:09-0500", AT),
        ("2024-01-31 15:05:09.123456", AT.replace(microsecond=123456)),
        ("2024-01-31 15:05:09,5", AT.replace(microsecond=500000)),
        ("2024/1/31 15:05:09", AT),
        ("2024.1.31", AT.replace(hour=0, minute=0, second=0)),
        ("2024年1月31日 15时05分09秒", AT),
        ("2024年1月31日15:05", AT.replace(second=0)),
        ("2024年1月31日 下午3点05分", AT.replace(second=0)),
        ("2024-01-31 03:05:09 PM", AT),
        ("2024-01-31 12:05:09 AM", AT.replace(hour=0)),
        ("2024-01-31 中午12点", AT.replace(hour=12, minute=0, second=0)),
        ("20240131", AT.replace(hour=0, minute=0, second=0)),
        ("20240131150509", AT),
        ("1706713509", AT),
        ("1706713509.25", AT.replace(microsecond=250000)),
        ("1706713509000", AT),
        ("1706713509000000", AT),
        ("1706713509000000000", AT),
        (" 2024-01-31T15:05:09Z ", AT),
        ("2024-02-30", None),
        ("2024-01-31 25:00", None),
        ("12", None),
        ("31/01/2024", None),
        ("", None),
        ("soon", None),
        (None, None),
        ("9" * 19, None),
    ],
)
def test_times_are_read_as_they_are_written(written: str | None, meant: datetime | None) -> None:
    values = pl.Series([written, "2020-02-02"], dtype=pl.String)
    assert parsed(values).to_list() == [meant, datetime(2020, 2, 2, tzinfo=UTC)]


@settings(deadline=None)
@given(st.datetimes(datetime(1975, 1, 1), datetime(2200, 1, 1)))
def test_typed_and_numbered_times_are_the_same_times(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert parsed(pl.Series([moment])).to_list() == [aware]
    assert parsed(pl.Series([aware])).to_list() == [aware]
    assert parsed(pl.Series([aware.isoformat()])).to_list() == [aware]
    seconds = int(aware.timestamp())
    assert parsed(pl.Series([seconds])).to_list() == [aware.replace(microsecond=0)]
    assert parsed(pl.Series([float(seconds)])).to_list() == [aware.replace(microsecond=0)]
    assert parsed(pl.Series([moment.date()])).to_list() == [
        datetime.combine(moment.date(), datetime.min.time(), UTC)
    ]


@settings(deadline=None)
@given(st.lists(st.text(max_size=30)))
def test_any_text_is_a_time_or_none(texts: list[str]) -> None:
    assert len(parsed(pl.Series(texts, dtype=pl.String))) == len(texts)


def test_what_is_shaped_conforms_to_the_records() -> None:
    for layout, rows in EXAMPLES.items():
        frame = layouts.shaped(raw_json(rows), layout, {}, WHERE, Quarantine())
        assert conform(frame)["id"].str.len_chars().to_list() == [16] * len(rows)
