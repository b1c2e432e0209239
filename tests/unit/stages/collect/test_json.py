"""JSON and JSON Lines: every value exactly as it stood; what is broken costs its own row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feilun.stages.collect.reading import Limits, UnreadableFile
from tests.unit.stages.collect.collected import parsed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), TEXT,
              st.sampled_from(["1.0", "1e5", "-0", "null", '"'])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)  # fmt: skip
ROWS = st.lists(st.dictionaries(TEXT.filter(str.strip), VALUES, max_size=3), max_size=8)


def cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def wanted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: cell(value) for key, value in row.items() if value is not None} | {"_row": number}
        for number, row in enumerate(rows, start=1)
    ]


@settings(deadline=None, max_examples=150)
@given(
    rows=ROWS.filter(lambda rows: all("_row" not in row for row in rows)),
    block=st.sampled_from([1, 9, 1 << 20]),
    shape=st.sampled_from(["lines", "list", "indented", "within", "one after the other"]),
    ascii_only=st.booleans(),
)
def test_any_objects_in_any_arrangement_are_the_same_rows(
    rows: list[dict[str, Any]], block: int, shape: str, ascii_only: bool
) -> None:
    def dumped(value: Any, **more: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, **more)

    content = {
        "lines": lambda: "".join(dumped(row) + "\n" for row in rows),
        "list": lambda: dumped(rows),
        "indented": lambda: dumped(rows, indent=2),
        "within": lambda: dumped({"version": [1], "n": 2.5, "data": rows, "more": [{"a": 1}]}),
        "one after the other": lambda: "\n".join(dumped(row, indent=1) for row in rows),
    }[shape]()
    if shape in {"within", "one after the other"} and (not rows or "messages" in rows[0]):
        return
    if shape == "one after the other" and any(
        isinstance(v, list) and v and isinstance(v[0], dict) for v in rows[0].values()
    ):
        return  # its list of objects is taken for the rows
    found, bad = parsed(content, "jsonl" if shape == "lines" else "json", block=block)
    assert not bad
    assert found == wanted(rows)


@pytest.mark.parametrize(
    "number",
    ["1e5", "1.0", "-0", "0.10", "1E+2", "123456789012345678901234567890", "9" * 5000,
     "0.1234567890123456789012345"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_numbers_keep_every_digit(number: str, form: str) -> None:
    content = f'{{"a": {number}, "b": [{number}, {{"c": {number}}}], "d": "{number}"}}'
    rows, bad = parsed(content, form)
    assert not bad
    assert rows[0]["a"] == rows[0]["d"] == number
    assert rows[0]["b"] == f'[{number},{{"c":{number}}}]'


def test_values_of_several_types_in_a_column_are_text() -> None:
    rows, _bad = parsed(
        '{"a":1}\n{"a":"x"}\n{"a":[1]}\n{"a":true}\n{"a":null}\n{"b":NaN}\n', "jsonl"
    )
    assert [row.get("a") for row in rows] == ["1", "x", "[1]", "true", None, None]
    assert "b" not in rows[5]


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not_json"),
        ('{"a": 1,}', "not_json"),
        ('{"a": 1} {"a": 2}', "not_json"),
        ('{"a": "x\ty"}', "not_json"),
        ("[1]", "not_an_object"),
        ("3", "not_an_object"),
        ("null", "not_an_object"),
        ('"text"', "not_an_object"),
        (f'{{"a": {DEEP}}}', "too_deep"),
        ('{"a": ' + "[" * 101 + "]" * 101 + "}", "too_deep"),
        ("[" * 100_000, "too_deep"),
        ('{"a": "\\ud800"}', "not_text"),
        ('{"\\udfff": 1}', "not_text"),
        ('{"a": "x\0y"}', "not_text"),
    ],
)
def test_a_bad_line_costs_itself(line: str, reason: str) -> None:
    rows, bad = parsed(f'{{"a": "first"}}\n{line}\n\n{{"a": "last"}}\n', "jsonl")
    assert bad == [(2, reason)]
    assert rows == [{"a": "first", "_row": 1}, {"a": "last", "_row": 4}]


@pytest.mark.parametrize("block", [3, 1 << 20])
@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ('{"a": }', "not_json"),
        ('{"a": "x\\"}', "not_json"),
        ('{"a": {"b": [1, {"c": }]}}', "not_json"),
        ("nonsense", "not_json"),
        ("3", "not_an_object"),
        (f'{{"a": {DEEP}}}', "too_deep"),
        ('{"a": "\\ud800"}', "not_text"),
        ('{"a": "x\0y"}', "not_text"),
        ('{"a": "' + "x" * 300_000 + '"}', "too_long"),
    ],
)
def test_a_bad_element_of_a_list_costs_itself(element: str, reason: str, block: int) -> None:
    content = f'[{{"a": "first"}},\n{element},\n{{"a": "last"}}]'
    if len(element) > 10_000 and block < 100:
        block = 10_000
    rows, bad = parsed(content, "json", block=block, limits=Limits(250_000))
    assert bad == [(2, reason)]
    assert rows == [{"a": "first", "_row": 1}, {"a": "last", "_row": 3}]


def test_bytes_that_are_not_text_cost_one_element() -> None:
    elements = [b'{"a": "%d"}' % number for number in range(100)]
    elements[40] = b'{"a": "\xe9"}'
    for form, content in (("json", b"[" + b",\n".join(elements) + b"]"),
                          ("jsonl", b"\n".join(elements))):  # fmt: skip
        rows, bad = parsed(content, form)
        assert bad == [(41, "not_text")]
        assert len(rows) == 99


@pytest.mark.parametrize(
    ("content", "number"), [('[{"a": 1},\n{"a": 2', 2), ('[{"a": 1},\n', 2), ('[{"a": 1}', 2)]
)
def test_a_list_that_is_cut_off_is_told(content: str, number: int) -> None:
    rows, bad = parsed(content, "json")
    assert rows == [{"a": "1", "_row": 1}]
    assert bad == [(number, "not_json")]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "Expecting property name"),
        ("3", "neither a list nor an object"),
        ("text", "neither a list nor an object"),
        ('{"a": 1', "Expecting ',' delimiter"),
    ],
)
def test_what_is_no_json_at_all_is_refused(content: str, why: str) -> None:
    with pytest.raises(UnreadableFile, match=why):
        parsed(content, "json")


def test_a_list_that_belongs_to_a_record_is_not_the_rows() -> None:
    turns = [{"role": "user", "content": "hi"}]
    rows, _bad = parsed(json.dumps({"messages": turns}), "json")
    assert rows == [{"messages": cell(turns), "_row": 1}]


def test_ever_new_keys_do_not_fill_the_memory() -> None:
    content = "".join(json.dumps({f"k{number}": "x"}) + "\n" for number in range(6000))
    rows, bad = parsed(content, "jsonl")
    assert not bad
    assert rows[-1] == {"k5999": "x", "_row": 6000}
    many = json.dumps({f"k{number}": 1 for number in range(10_001)})
    assert parsed(many, "jsonl")[1] == [(1, "ragged")]


@pytest.mark.parametrize("content", ["", " \n", "[]", "[\n]\n"])
def test_an_empty_text_has_no_records(content: str) -> None:
    assert parsed(content, "json") == ([], [])
