"""Collect: every format and encoding gives the same records; what cannot be read is told."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feilun.core.errors import FeilunError, NotReadable
from feilun.core.records import SCHEMA
from feilun.stages.collect import Collect, CollectGiven
from feilun.stages.collect.columns import ColumnMissing, ColumnUnclear, guess_columns
from feilun.stages.collect.files import (
    FileMissing,
    Files,
    NoRecords,
    UnreadableEncoding,
    UnreadableFile,
)
from tests.unit.stages.scratch import records, scratch

ROWS = [
    ("房间很好", "正面"),
    ('说"不", 再来', "负面"),
    ("第一行\n第二行", "正面"),
    ("01", "01"),
    ("1e5", None),
    ("good 👍", "正面"),
]
FRAME = pl.DataFrame(ROWS, schema={"text": pl.String, "label": pl.String}, orient="row")


def jsonl(frame: pl.DataFrame) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in frame.to_dicts())


def written(form: str) -> bytes:
    if form == "parquet":
        target = io.BytesIO()
        FRAME.write_parquet(target)
        return target.getvalue()
    return {
        "csv": FRAME.write_csv(),
        "tsv": FRAME.write_csv(separator="\t"),
        "json": json.dumps(FRAME.to_dicts(), ensure_ascii=False),
        "jsonl": jsonl(FRAME),
    }[form].encode()


def read(folder: Path, name: str, content: bytes | str, **more: Any) -> pl.DataFrame:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Files(path=name, **more).read(folder)


@pytest.mark.parametrize("form", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_format_gives_the_same_records(form: str, tmp_path: Path) -> None:
    frame = read(tmp_path, f"data.{form}", written(form))
    assert frame.select("text", "label").rows() == ROWS
    assert frame["row"].to_list() == [1, 2, 3, 4, 5, 6]
    assert frame["source"].unique().to_list() == [f"data.{form}"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_every_encoding_gives_the_same_records(form: str, encoding: str, tmp_path: Path) -> None:
    content = written(form).decode().encode(encoding)
    assert read(tmp_path, f"data.{form}", content).select("text", "label").rows() == ROWS


def test_a_named_encoding_is_used_and_only_that(tmp_path: Path) -> None:
    content = "text,label\ncafé au lait,x\n".encode("latin-1")
    assert read(tmp_path, "a.csv", content, encoding="latin-1")["text"].to_list() == [
        "café au lait"
    ]
    with pytest.raises(UnreadableEncoding, match="byte 14"):
        read(tmp_path, "a.csv", content, encoding="utf-8")
    with pytest.raises(UnreadableEncoding):
        read(tmp_path, "a.csv", content, encoding="no-such-encoding")


def test_bytes_that_fit_no_encoding_are_told_with_their_place(tmp_path: Path) -> None:
    with pytest.raises(UnreadableEncoding, match=r"utf-8-sig / gb18030: byte \d+") as caught:
        read(tmp_path, "a.csv", b"text,label\n" + b"\xff\xff\xff", columns={"text": "text"})
    assert "iconv" in (caught.value.remedy or "")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_text_are_unlabelled_records(end: str, tmp_path: Path) -> None:
    frame = read(tmp_path, "a.txt", end.join(["第一", "", "第三\u2028仍是第三", "last"]) + end)
    assert frame["text"].to_list() == ["第一", "", "第三\u2028仍是第三", "last"]
    assert frame["label"].null_count() == 4


def test_separators_inside_a_json_string_do_not_cut_the_line(tmp_path: Path) -> None:
    """`str.splitlines` would: JSON allows U+2028, U+2029 and U+0085 as they are."""
    text = "前\u2028后\u2029再\x85后"
    frame = read(tmp_path, "a.jsonl", json.dumps({"text": text, "label": "x"}, ensure_ascii=False))
    assert frame["text"].to_list() == [text]


def test_empty_lines_and_cells_and_unknown_values(tmp_path: Path) -> None:
    frame = read(tmp_path, "a.jsonl", '\n{"text": "a b c", "label": " x "}\n\n{"text": "d"}\n')
    assert frame.select("text", "label").rows() == [("a b c", "x"), ("d", None)]
    frame = read(
        tmp_path,
        "b.json",
        '{"data": [{"text": "long text", "label": true}, {"text": 5, "label": ""}]}',
    )
    assert frame.select("text", "label").rows() == [("long text", "true"), ("5", None)]


def test_folders_are_labels_and_tables_beside_them_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "data" / "坏.csv").mkdir(parents=True)
    for name, content in {
        "data/正面/1.txt": "很好\n真的",
        "data/负面/1.txt": "很差",
        "data/负面/2.TXT": "很脏",
        "data/more.csv": "text,label\n不错的酒店,正面\n",
        "data/ignored.md": "# no",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    frame = Files(path="data").read(tmp_path)
    assert sorted(frame.select("text", "label", "source").rows()) == [
        ("不错的酒店", "正面", "data/more.csv"),
        ("很好\n真的", "正面", "data/正面/1.txt"),
        ("很差", "负面", "data/负面/1.txt"),
        ("很脏", "负面", "data/负面/2.TXT"),
    ]


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("text,label", {"text": "text", "label": "label"}),
        ("Review,Sentiment", {"text": "Review", "label": "Sentiment"}),
        ("编号,评论,类别", {"text": "评论", "label": "类别"}),
        ("id, 内容 ,标签", {"text": " 内容 ", "label": "标签"}),
        ("x,y", {"text": "y", "label": "x"}),
        ("text,stars", {"text": "text", "label": "stars"}),
    ],
)
def test_columns_are_guessed_in_two_languages(header: str, wanted: dict[str, str]) -> None:
    names = header.split(",")
    long, few = [f"some longer text {n}" for n in range(30)], [str(n % 2) for n in range(30)]
    columns = [few] * len(names)
    columns[names.index(wanted["text"])] = long
    if "编号" in names or "id" in names:
        columns[0] = [str(n) for n in range(30)]
    assert guess_columns(pl.DataFrame(dict(zip(names, columns, strict=True))), "x.csv") == wanted


def test_a_column_that_cannot_be_guessed_is_asked_for() -> None:
    frame = pl.DataFrame({"a": ["1", "2"], "b": ["3", "4"]})
    with pytest.raises(ColumnUnclear, match="It has: a, b") as caught:
        guess_columns(frame, "x.csv")
    assert "{ text = …, label = … }" in (caught.value.remedy or "")


def test_only_the_text_column_may_be_named(tmp_path: Path) -> None:
    frame = read(tmp_path, "a.csv", "a,b\nfirst text,x\n", columns={"text": "a"})
    assert frame.select("text", "label").rows() == [("first text", None)]
    frame = read(tmp_path, "a.csv", "text,b\nfirst text,x\n", columns={"label": "b"})
    assert frame.select("text", "label").rows() == [("first text", "x")]


def test_a_missing_column_is_told_with_the_nearest_and_all_there_are(tmp_path: Path) -> None:
    with pytest.raises(ColumnMissing, match="no column 'lable'; it has: text, label") as caught:
        read(tmp_path, "a.csv", "text,label\nx,y\n", columns={"text": "text", "label": "lable"})
    assert "Did you mean 'label'?" in (caught.value.remedy or "")
    with pytest.raises(ColumnMissing) as caught:
        read(tmp_path, "a.csv", "text,label\nx,y\n", columns={"text": "qqqq"})
    assert "columns = { text = …, label = … }" in (caught.value.remedy or "")


def test_a_mapping_of_unknown_roles_is_refused() -> None:
    with pytest.raises(ValidationError, match="columns maps only text, label, not body"):
        Files(path="x", columns={"body": "x"})


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("a.json", "{", UnreadableFile),
        ("a.json", "3", UnreadableFile),
        ("a.json", "[1]", UnreadableFile),
        ("a.json", "[" * 100_000, UnreadableFile),
        ("a.json", '[{"text": "\\ud800"}]', UnreadableFile),
        ("a.jsonl", '{"text": "a"}\n{"text": ', UnreadableFile),
        ("a.jsonl", '{"text": "a"}\n[]\n', UnreadableFile),
        ("a.csv", "text,label\na,b,c,d\n", UnreadableFile),
        ("a.parquet", "PAR1 no parquet at all PAR1", UnreadableFile),
        ("a.parquet", "", UnreadableFile),
        ("a.csv", "", NoRecords),
        ("a.csv", "\n\n", NoRecords),
        ("a.csv", "text,label\n", NoRecords),
        ("a.json", "[]", NoRecords),
        ("a.jsonl", "\n", NoRecords),
        ("a.txt", "", NoRecords),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_mend(
    name: str, content: str, wanted: type[FeilunError], tmp_path: Path
) -> None:
    with pytest.raises(wanted, match=name) as caught:
        read(tmp_path, name, content)
    assert caught.value.remedy


def test_a_json_error_names_the_row(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="row 2: Expecting value"):
        read(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": \n')


def test_columns_of_lists_are_refused_clearly(tmp_path: Path) -> None:
    target = io.BytesIO()
    pl.DataFrame({"text": [{"a": 1}], "label": [["x"]]}).write_parquet(target)
    try:
        frame = read(tmp_path, "a.parquet", target.getvalue())
    except FeilunError as error:
        message = error.message
        assert "a.parquet" in message
    else:
        assert frame.schema["label"] == pl.String


def test_a_file_or_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    source = Files(path="gone.csv")
    for ask in (source.read, source.identity):
        with pytest.raises(FileMissing, match=r"gone\.csv is not there"):
            ask(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoRecords):
        Files(path="empty").read(tmp_path)


def test_a_file_that_may_not_be_read_is_not_called_unwritable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")

    def refuse(*_arguments: object, **_named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    for ask in (Files(path="a.csv").read, Files(path="a.csv").identity):
        with pytest.raises(NotReadable):
            ask(tmp_path)


def test_the_identity_changes_with_content_and_names(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text("text\nx\n")
    source = Files(path="data")
    seen = {source.identity(tmp_path)}
    assert source.identity(tmp_path) in seen
    (folder / "a.csv").write_text("text\ny\n")
    seen.add(source.identity(tmp_path))
    (folder / "b.csv").write_text("")
    seen.add(source.identity(tmp_path))
    (folder / "b.csv").rename(folder / "c.csv")
    seen.add(source.identity(tmp_path))
    assert len(seen) == 4


def test_sources_come_in_their_order_and_feedback_last(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nfirst text,x\n")
    (tmp_path / "b.txt").write_text("second text\n")
    stage = Collect.model_validate(
        {"sources": [{"use": "files", "path": "b.txt"}, {"use": "files", "path": "a.csv"}]}
    )
    run = scratch(tmp_path)
    feedback = records([("from a user", "x", "feedback")], run)
    made = stage.run(CollectGiven(feedback), run)
    frame = pl.read_parquet(run.file(made.files["records.parquet"]))
    assert frame.schema == SCHEMA
    assert frame["text"].to_list() == ["second text", "first text", "from a user"]
    assert made.sources == {"b.txt": 1, "a.csv": 1, "feedback": 1}
    assert made.parents == (feedback.digest,)
    assert stage.inputs(CollectGiven(feedback), tmp_path).keys() == {
        "source.0",
        "source.1",
        "feedback",
    }
    assert stage.run(CollectGiven(feedback), run).digest == made.digest


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    content=st.binary(max_size=200),
    form=st.sampled_from(["csv", "tsv", "json", "jsonl", "txt", "parquet"]),
)
def test_any_bytes_are_records_or_a_clear_error(content: bytes, form: str, tmp_path: Path) -> None:
    try:
        frame = read(tmp_path, f"any.{form}", content)
    except FeilunError as error:
        remedy = error.remedy
        assert remedy
    else:
        assert frame.height > 0


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.text(
            st.characters(exclude_characters="\r", exclude_categories=["Cs"]),
            min_size=1,
            max_size=10,
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_texts_survive_csv_and_jsonl(texts: list[str], tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": texts})
    named = {"columns": {"text": "text"}}
    assert read(tmp_path, "a.jsonl", jsonl(frame), **named)["text"].to_list() == texts
    assert read(tmp_path, "a.csv", frame.write_csv(), **named)["text"].to_list() == texts
