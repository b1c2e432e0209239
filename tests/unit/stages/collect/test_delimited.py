"""CSV and TSV: polars and the slow way give the same, which is what was written."""

from __future__ import annotations

import csv
import io
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feilun.stages.collect.reading import Limits, UnreadableFile, delimited
from tests.unit.stages.collect.collected import parsed

CELLS = st.text(
    st.one_of(
        st.sampled_from("\",\n\r\t 中é\ufeff#'x"),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=8,
)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=12)
)
PIECES = ["a", ",", ",", "\n", "\n", '"', '"', '""', "\r", "\r\n", "中", ',"x"\n', " ", "\ufeff",
          "1e5", "xx,yy\n"]  # fmt: skip


def written(table: list[list[str]], end: str, quoting: int, separator: str = ",") -> bytes:
    """As RFC 4180 has it: a cell with a line break of either kind is quoted. Left to itself,
    `csv.writer` quotes (before Python 3.13) only those of its own line end, and then a cell that
    ends in a bare carriage return cannot be told from a line that ends in both."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\r\n", quoting=quoting, delimiter=separator)
    width = len(table[0]) if table else 1
    lines = []
    for row in [[f"c{number}" for number in range(width)], *table]:
        writer.writerow(row)
        lines.append(target.getvalue().removesuffix("\r\n") + end)
        target.seek(0)
        target.truncate()
    return "".join(lines).encode()


def one_by_one(content: bytes, **more: object) -> object:
    with mock.patch.object(delimited.Delimited, "_together", return_value=(0, None, False)):
        return parsed(content, **more)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=150)
@given(
    table=TABLES,
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    form=st.sampled_from(["csv", "tsv"]),
    block=st.sampled_from([1, 7, 1 << 20]),
)
@example(table=[["", "\r"]], end="\n", quoting=csv.QUOTE_MINIMAL, form="csv", block=1)
@example(table=[["\r"]], end="\n", quoting=csv.QUOTE_MINIMAL, form="tsv", block=1 << 20)
def test_what_was_written_is_read_either_way(
    table: list[list[str]], end: str, quoting: int, form: str, block: int
) -> None:
    content = written(table, end, quoting, "," if form == "csv" else "\t")
    rows, bad = parsed(content, form, block=block, encoding="utf-8")
    assert not bad
    assert [row.pop("_row") for row in rows] == list(range(1, len(table) + 1))
    # An empty cell without quotes is null: it cannot be told from none.
    kept = [{f"c{n}": cell for n, cell in enumerate(row)} for row in table]
    filled = [{name: cell for name, cell in row.items() if cell} for row in rows]
    assert filled == [{name: cell for name, cell in row.items() if cell} for row in kept]
    if quoting == csv.QUOTE_ALL:
        assert rows == kept
    assert one_by_one(content, form=form, encoding="utf-8") == parsed(
        content, form, encoding="utf-8"
    )


@settings(deadline=None, max_examples=300)
@given(
    content=st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    odd=st.sampled_from([b"", b"\0", b"\xff"]),
    at=st.integers(0, 60),
    header=st.sampled_from(["h\n", "h,i\n", "h,i,j\r\n"]),
    most=st.sampled_from([8, 16, 1 << 20]),
    block=st.sampled_from([1, 3, 20, 1 << 20]),
    sizes=st.sampled_from([(20, 5, 1), (60, 20, 10), (4 << 20, 256 << 10, 64 << 10)]),
)
def test_whatever_is_in_it_both_ways_agree(
    content: str, odd: bytes, at: int, header: str, most: int, block: int,
    sizes: tuple[int, int, int],
) -> None:  # fmt: skip
    data = content.encode()
    data = header.encode() + data[:at] + odd + data[at:]
    more = {"form": "csv", "limits": Limits(most), "encoding": "utf-8"}
    if odd:
        data += b"fill,up\n" * 200  # so that a bad byte or two do not speak against the encoding
    names = ("_LARGEST", "_SMALLEST", "_ONE_BY_ONE")
    with mock.patch.multiple(delimited, **dict(zip(names, sizes, strict=True))):
        assert parsed(data, block=block, **more) == one_by_one(data, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "rows", "bad"),
    [
        ("a,b\n1,2\n1\n1,2,3\n5,6\n", [("1", "2", 1), ("5", "6", 4)],
         [(2, "ragged"), (3, "ragged")]),
        ('a,b\n1,"open\n3,"good"\n4,5\n', [("3", "good", 2), ("4", "5", 3)], [(1, "open_quote")]),
        ('a,b\n1,"open\n3,x\n4,5\n', [("3", "x", 2), ("4", "5", 3)], [(1, "open_quote")]),
        ('a,b\n"he said "hi"",1\n5" pipe,2\n', [('5" pipe', "2", 2)], [(1, "open_quote")]),
        ('a,b\n\n1,"two\nlines, one ""cell"""\n\r\n3,4',
         [("1", 'two\nlines, one "cell"', 1), ("3", "4", 2)], []),
        ("a,b\nx\0y,1\n3,4\n", [("3", "4", 2)], [(1, "not_text")]),
        ("a,b\n01,1e5\n1.0,99999999999999999999999\n",
         [("01", "1e5", 1), ("1.0", "99999999999999999999999", 2)], []),
        ("a,b\r1,2\r3,4\r", [("1", "2", 1), ("3", "4", 2)], []),
        ('a,b\n"",x\n', [("", "x", 1)], []),
    ],
)  # fmt: skip
def test_bad_records_are_told_and_the_others_read(
    content: str, rows: list[tuple[str, str, int]], bad: list[tuple[int, str]]
) -> None:
    found, told = parsed(content, "csv")
    assert [(row["a"], row["b"], row["_row"]) for row in found] == rows
    assert told == bad


def test_bytes_that_are_not_text_cost_one_row() -> None:
    content = b"a,b\n" + b"fine,1\n" * 50 + b"caf\xe9,2\n" + "好,3\n".encode() * 50
    rows, bad = parsed(content, "csv")
    assert bad == [(51, "not_text")]
    assert len(rows) == 100
    assert rows[-1] == {"a": "好", "b": "3", "_row": 101}


@pytest.mark.parametrize("block", [5, 1 << 20])
def test_a_long_line_costs_one_row(block: int) -> None:
    content = "a,b\n1,2\n" + "x" * 5000 + ',y\n3,4\n"' + "y\n" * 3000 + '",z\n5,6\n'
    rows, bad = parsed(content, "csv", block=block, limits=Limits(1000))
    assert bad[0] == (2, "too_long")
    # The quoted field is too long as well: it is taken for a quote that was never closed.
    assert bad[1] == (4, "open_quote")
    assert rows[:2] == [{"a": "1", "b": "2", "_row": 1}, {"a": "3", "b": "4", "_row": 3}]
    assert rows[-1]["a"] == "5"


def test_columns_of_one_name_or_none_are_all_kept() -> None:
    rows, bad = parsed("a,a,,_row,a_2\n1,2,3,4,5\n", "csv")
    assert rows == [{"a": "1", "a_3": "2", "column_3": "3", "_row_2": "4", "a_2": "5", "_row": 1}]
    assert not bad


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b'"a', "quote that does not end"),
        (b"a\0,b\n1,2\n", "is not text"),
        (b"a" * 2000, "longer than most_bytes"),
        (b"," * 10_000 + b"\n", "10,001 columns; the limit is 10,000"),
    ],
)
def test_a_table_without_a_header_that_can_be_read_is_refused(header: bytes, why: str) -> None:
    with pytest.raises(UnreadableFile, match=why):
        parsed(header, "csv", limits=Limits(1000 if b"a" * 9 in header else 1 << 20))


@pytest.mark.parametrize("content", ["", "\n\r\n\n", "a,b\n", "a,b"])
def test_an_empty_table_has_no_records(content: str) -> None:
    assert parsed(content, "csv") == ([], [])


def test_a_bomb_of_open_quotes_is_not_read_again_and_again() -> None:
    """Each line opens a field that goes on over all the following ones: a field for each."""
    content = "a,b,c\n" + 'x","\n' * 50_000 + "1,2,3\n"
    rows, bad = parsed(content, "csv")
    assert rows == [{"a": "1", "b": "2", "c": "3", "_row": 50_001}]
    assert {reason for _row, reason in bad} == {"open_quote"}
