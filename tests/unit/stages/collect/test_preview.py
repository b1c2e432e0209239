"""What a source holds, before anything is collected."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from feilun.stages.collect import preview as module
from feilun.stages.collect.files import Files
from feilun.stages.collect.images import Images
from feilun.stages.collect.preview import MOST_ROWS, Column, Sample, columns_of, preview
from feilun.stages.collect.reading import FileMissing
from feilun.stages.collect.source import Piece, Quarantine, Source
from tests.unit.stages.collect.test_images import filled


def kinds(**columns: list[Any]) -> dict[str, tuple[str, int]]:
    found = columns_of(pl.DataFrame(columns))
    return {column.name: (column.kind, column.num_unlike) for column in found}


def test_kinds_are_told_from_texts() -> None:
    many = 40
    assert kinds(
        i=["1", " 22 ", "-3", "1,234", None] * 8,
        n=["1.5", "2", "3e5", "40%", ""] * 8,
        d=["2024-01-31", "2024/2/1", "2024年3月1日 8:05", "2024-01-31T00:00:00Z", None] * 8,
        b=["是", "否", "yes", "TRUE", None] * 8,
        c=["好", "坏", "一般", "好", "好"] * 8,
        t=[f"第 {n} 个评价，写得长一些" for n in range(many)],
        l=['["a"]', "[]", None, "[1,2]", "[]"] * 8,
        o=['{"a": 1}', "{}", None, "{}", "{}"] * 8,
        e=[None, "", " ", None, ""] * 8,
        few=["1"] * (many - 1) + ["n/a"],
        mixed=["1", "x"] * (many // 2),
    ) == {
        "i": ("integer", 0), "n": ("number", 0), "d": ("date", 0), "b": ("true/false", 0),
        "c": ("category", 0), "t": ("text", 0), "l": ("list", 0), "o": ("object", 0),
        "e": ("empty", 0), "few": ("integer", 1), "mixed": ("category", 0),
    }  # fmt: skip


def test_kinds_of_types() -> None:
    assert kinds(
        i=[1, 2], x=[1.5, None], b=[True, None], d=[date(2024, 1, 31)] * 2, l=[[1], [2]],
        s=[{"a": 1}, {"a": 2}], t=["plain text, the first", "plain text, the second"],
        raw=[b"\x00", b"\xff"], none=[None, None],
    ) == {
        "i": ("integer", 0), "x": ("number", 0), "b": ("true/false", 0), "d": ("date", 0),
        "l": ("list", 0), "s": ("object", 0), "t": ("text", 0), "raw": ("empty", 0),
        "none": ("empty", 0),
    }  # fmt: skip


def test_the_figures_of_a_column() -> None:
    (column,) = columns_of(pl.DataFrame({"x": ["", "ab", None, "abcd"]}), {"x": "text"})
    assert column == Column("x", "text", 2, 0, 0.5, 3.0, "ab", "text")


def test_a_table_is_shown_with_encoding_layout_and_roles(tmp_path: Path) -> None:
    lines = ["评论,星级,编号,金额"] + [f"物流很快包装也好 {n},{n % 5},{n},{n}.5" for n in range(50)]
    lines[8] = ",3,7,-"
    (tmp_path / "a.csv").write_bytes("\n".join(lines).encode("gb18030"))
    found = preview(Files(path="a.csv", columns={"label": "星级"}), tmp_path, rows=3)
    (piece,) = found.pieces
    assert (found.use, found.more, piece.name, piece.num_rows) == ("files", False, "a.csv", 50)
    assert piece.details == {"format": "csv", "encoding": "gb18030", "layout": "labelled"}
    roles = {column.name: (column.kind, column.becomes) for column in piece.columns}
    assert roles == {
        "评论": ("text", "text"), "星级": ("integer", "label"), "编号": ("integer", ""),
        "金额": ("number", ""),
    }  # fmt: skip
    amount = piece.columns[3]
    assert (amount.num_unlike, amount.example) == (1, "0.5")
    assert [record["row"] for record in piece.records] == [1, 2, 3]
    assert piece.records[1]["text"] == "物流很快包装也好 1"
    assert piece.records[1]["label"] == "1"


def test_chats_packed_files_and_what_could_not_be_read(tmp_path: Path) -> None:
    chat = [{"from": "human", "value": "你好"}, {"from": "gpt", "value": "您好"}]
    rows = [{"conversations": chat, "id": "7"}, {"conversations": "x"}, {"conversations": []}]
    (tmp_path / "data").mkdir()
    (tmp_path / "data/chat.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    with gzip.open(tmp_path / "data/log.csv.gz", "wt") as target:
        target.write("user,item,time\n" + "u1,i1,1700000000\n" * 5)
    chats, log = preview(Files(path="data"), tmp_path).pieces
    assert chats.details["layout"] == "sharegpt"
    assert {c.name: c.becomes for c in chats.columns} == {
        "conversations": "messages", "id": "fields",
    }  # fmt: skip
    (record,) = chats.records
    assert record["text"] == "你好\n您好"
    assert record["fields"] == {"id": "7"}
    assert chats.unreadable == {"not_messages": 2}
    assert [bad.row for bad in chats.shown] == [2, 3]
    assert log.details == {
        "format": "csv", "encoding": "utf-8", "packed": "gz", "layout": "interactions",
    }  # fmt: skip
    assert log.unreadable == {}, "what the first file lacked is not counted again"


def test_texts_of_a_folder_are_one_piece(tmp_path: Path) -> None:
    for name, content in {"好/1.txt": "很好\n真的", "坏/1.txt": "很差", "坏/2.md": "# 差"}.items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(content, "utf-8")
    (piece,) = preview(Files(path="data"), tmp_path).pieces
    assert piece.name == "data"
    assert sorted((r["text"], r["label"]) for r in piece.records) == [
        ("# 差", "坏"), ("很好\n真的", "好"), ("很差", "坏"),
    ]  # fmt: skip
    roles = {column.name: (column.kind, column.becomes) for column in piece.columns}
    assert roles == {"text": ("text", "text"), "label": ("category", "label")}


def test_a_source_without_columns_shows_what_its_records_have(tmp_path: Path) -> None:
    found = preview(Images(path="photos"), filled(tmp_path))
    cats = {piece.name: piece for piece in found.pieces}["photos/cats"]
    assert [(column.name, column.kind) for column in cats.columns] == [
        ("label", "category"), ("fields.image", "object"),
    ]  # fmt: skip
    assert cats.records[0]["fields"]["image"]["format"] == "png"
    assert cats.unreadable == {"not_an_image": 1}


class Endless(Source):
    """Pieces without end, each with frames without end."""

    use: ClassVar[str] = "endless"

    def pieces(self, root: Path, since: str | None) -> Iterator[Piece]:
        number = 0
        while True:
            number += 1
            yield Piece(f"piece {number}", str(number), self._frames)

    def _frames(self, quarantine: Quarantine) -> Iterator[pl.DataFrame]:
        while True:
            quarantine.add("x", 1, "ragged")
            yield pl.DataFrame({"text": ["a text"] * 4_000, "row": range(4_000)})


class Sampling(Endless):
    """The same, with samples of its own."""

    def samples(self, root: Path, rows: int, quarantine: Quarantine) -> Iterator[Sample]:
        raw = pl.DataFrame({"评论": ["很好"], "_row": [1]})
        shaped = pl.DataFrame({"text": ["很好"], "row": [1]})
        yield Sample("one", {"layout": "labelled"}, raw, shaped, {"text": "评论"})


def test_no_more_is_read_than_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PIECES", 3)
    found = preview(Endless(), tmp_path, rows=2)
    assert found.more
    assert [piece.name for piece in found.pieces] == ["piece 1", "piece 2", "piece 3"]
    for piece in found.pieces:
        assert piece.num_rows == MOST_ROWS
        assert len(piece.records) == 2
        assert piece.unreadable == {"ragged": 3}, "of this piece alone"


def test_a_source_may_show_its_own_samples(tmp_path: Path) -> None:
    (piece,) = preview(Sampling(), tmp_path).pieces
    assert [(column.name, column.becomes) for column in piece.columns] == [("评论", "text")]


def test_nothing_is_written_and_errors_are_those_of_reading(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("第一\n第二\n", "utf-8")
    (piece,) = preview(Files(path="a.txt"), tmp_path).pieces
    assert piece.details == {"format": "text", "encoding": "utf-8"}
    assert [record["text"] for record in piece.records] == ["第一", "第二"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt"]
    with pytest.raises(FileMissing):
        preview(Files(path="b.txt"), tmp_path)
    (tmp_path / "empty.csv").write_text("")
    (piece,) = preview(Files(path="empty.csv"), tmp_path).pieces
    assert (piece.num_rows, piece.records) == (0, ())
