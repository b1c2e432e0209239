"""Parquet, Arrow and workbooks keep their types; what is broken is told."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from feilun.stages.collect import reading
from feilun.stages.collect.reading import PER_FRAME, UnreadableFile, WorkbookTooLarge, sheets, typed
from feilun.stages.collect.source import Quarantine

MANY = PER_FRAME * 2 + 7
TABLE = pl.DataFrame(
    {
        "text": [f"第{number}" for number in range(MANY)],
        "n": range(MANY),
        "tags": [["a", "b"]] * MANY,
        "kind": pl.Series(["x", "y", "x"] * (MANY // 3) + ["y"] * (MANY % 3)).cast(pl.Categorical),
    }
)


def read(path: Path, sheet: str | None = None) -> list[pl.DataFrame]:
    form = reading.form_of(path)
    assert form is not None
    quarantine = Quarantine()
    frames = list(reading.read(path, form, "auto", quarantine, path.name, sheet=sheet))
    assert not quarantine.counts
    return frames


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather", "stream.arrow"])
def test_tables_come_in_pieces_with_their_types(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.parquet":
        TABLE.write_parquet(path, row_group_size=1000)
    elif name.startswith("stream"):
        TABLE.write_ipc_stream(path, compression="zstd")
    else:
        TABLE.write_ipc(path)
    frames = read(path)
    assert max(frame.height for frame in frames) <= PER_FRAME
    whole = pl.concat(frames)
    assert whole["_row"].to_list() == list(range(1, MANY + 1))
    assert whole.drop("_row").cast({"kind": pl.String}).equals(TABLE.cast({"kind": pl.String}))


def test_a_stream_is_read_batch_by_batch(tmp_path: Path) -> None:
    """The messages of two streams with one schema, put together by hand."""
    parts = [TABLE[:10].drop("kind"), TABLE[10:30].drop("kind")]
    pieces = []
    for part in parts:
        part.write_ipc_stream(tmp_path / "part")
        pieces.append((tmp_path / "part").read_bytes())
    with (tmp_path / "part").open("rb") as source:
        head = typed._message(source)
    assert head is not None
    (tmp_path / "a.arrow").write_bytes(pieces[0][:-8] + pieces[1][len(head[1]) :])
    frames = read(tmp_path / "a.arrow")
    assert [frame.height for frame in frames] == [10, 20]
    assert frames[1]["_row"].to_list() == list(range(11, 31))
    assert pl.concat(frames).drop("_row").equals(pl.concat(parts))


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "s.arrow", "a.xlsx", "a.xls", "a.ods"])
@pytest.mark.parametrize("damage", ["garbage", "empty", "cut off"])
def test_a_damaged_table_is_told(name: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / name
    small = TABLE[:100].drop("kind")
    if name == "a.parquet":
        small.write_parquet(path)
    elif name == "a.arrow":
        small.write_ipc(path)
    elif name == "s.arrow":
        small.write_ipc_stream(path)
    else:
        workbook([["text"], ["x"]], path)
    whole = path.read_bytes()
    path.write_bytes(
        {"garbage": b"PAR1 no table PAR1", "empty": b"", "cut off": whole[:-50]}[damage]
    )
    if name == "s.arrow" and damage == "cut off":
        # The end of a stream is 8 bytes, so the last batch is what was hurt.
        assert len(whole) > 100
    with pytest.raises(UnreadableFile, match=name) as caught:
        read(path)
    assert caught.value.remedy


def test_a_length_that_is_not_true_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    TABLE[:10].drop("kind").write_ipc_stream(path)
    content = bytearray(path.read_bytes())
    with path.open("rb") as source:
        first, second = typed._message(source), typed._message(source)
    assert first is not None
    assert second is not None
    size = struct.unpack_from("<i", second[1], 4)[0]
    body = len(second[1]) - 8 - size
    at = second[1].index(struct.pack("<q", body), 8)
    start = len(first[1])
    content[start + at : start + at + 8] = struct.pack("<q", 1 << 46)
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="ends in the middle"):
        read(path)


Cells = list[list[object]]


def workbook(rows: Cells, path: Path, second: Cells | None = None) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    if second is not None:
        other = book.create_sheet("二月")
        for row in second:
            other.append(row)
    book.save(path)


def test_a_sheet_has_types_and_rows_as_they_are_numbered_there(tmp_path: Path) -> None:
    day = datetime.date(2026, 1, 2)
    rows: Cells = [
        ["评论", "星级", None, "mixed", "day"],
        ["很好", 5, "a", 1, day],
        [None] * 5,
        ["很差", 1, "b", "one", day],
    ]
    workbook(rows, tmp_path / "a.xlsx", [["评论"], ["二"]])
    (frame,) = read(tmp_path / "a.xlsx")
    assert frame.columns == ["评论", "星级", "column_3", "mixed", "day", "_row"]
    assert frame["_row"].to_list() == [1, 3]
    assert frame.rows() == [("很好", 5, "a", "1", day, 1), ("很差", 1, "b", "one", day, 3)]
    assert read(tmp_path / "a.xlsx", "二月")[0]["评论"].to_list() == ["二"]
    with pytest.raises(UnreadableFile, match="三月"):
        read(tmp_path / "a.xlsx", "三月")


def test_a_word_below_a_thousand_numbers_is_not_lost(tmp_path: Path) -> None:
    workbook([["n"], *[[number] for number in range(1500)], ["last"]], tmp_path / "a.xlsx")
    (frame,) = read(tmp_path / "a.xlsx")
    assert frame["n"].to_list()[-2:] == ["1499", "last"]


def test_an_empty_sheet_has_no_rows(tmp_path: Path) -> None:
    workbook([], tmp_path / "a.xlsx")
    assert read(tmp_path / "a.xlsx") == []
    workbook([["text", "label"]], tmp_path / "b.xlsx")
    assert read(tmp_path / "b.xlsx") == []


def test_a_workbook_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbook([["text"], ["x"]], tmp_path / "a.xlsx")
    monkeypatch.setattr(sheets, "MOST_UNPACKED", 100)
    with pytest.raises(WorkbookTooLarge, match="the limit for a workbook is 100 bytes"):
        read(tmp_path / "a.xlsx")
