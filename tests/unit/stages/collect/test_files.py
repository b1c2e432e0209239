"""The source `files`: every format and encoding gives the same records; what cannot be read is
told."""

from __future__ import annotations

import errno
import gzip
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feilun.core.errors import FeilunError, NotReadable
from feilun.stages.collect.columns import ColumnMissing, ColumnUnclear, guess_columns
from feilun.stages.collect.files import Files
from feilun.stages.collect.reading import FileMissing, NoRecords, UnreadableEncoding, UnreadableFile
from feilun.stages.collect.source import Quarantine
from tests.unit.stages.collect.collected import collected, read, read_all
from tests.unit.stages.collect.test_documents import pdf

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
    target = io.BytesIO()
    if form == "parquet":
        FRAME.write_parquet(target)
    elif form == "arrow":
        FRAME.write_ipc(target)
    elif form == "xlsx":
        book = openpyxl.Workbook()
        assert book.active is not None
        for row in (FRAME.columns, *ROWS):
            book.active.append(row)
        book.save(target)
    else:
        text = {
            "csv": FRAME.write_csv(),
            "tsv": FRAME.write_csv(separator="\t"),
            "json": json.dumps(FRAME.to_dicts(), ensure_ascii=False),
            "jsonl": jsonl(FRAME),
        }[form.partition(".")[0]].encode()
        packed = {"gz": gzip.compress, "zst": zstandard.compress}.get(form.partition(".")[2], bytes)
        return packed(text)
    return target.getvalue()


@pytest.mark.parametrize(
    "form",
    ["csv", "tsv", "json", "jsonl", "parquet", "arrow", "xlsx", "csv.gz", "jsonl.zst", "json.gz"],
)
def test_every_format_gives_the_same_records(form: str, tmp_path: Path) -> None:
    frame = read(tmp_path, f"data.{form}", written(form))
    assert frame.select("text", "label").rows() == ROWS
    assert frame["row"].to_list() == [1, 2, 3, 4, 5, 6]
    assert frame["source"].unique().to_list() == [f"data.{form}"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_every_encoding_gives_the_same_records(form: str, encoding: str, tmp_path: Path) -> None:
    content = written(form).decode().encode(encoding)
    assert read(tmp_path, f"data.{form}", content).select("text", "label").rows() == ROWS


def test_a_named_encoding_is_used_and_only_that(tmp_path: Path) -> None:
    content = "text,label\ncafé au lait,x\n".encode("latin-1")
    frame = read(tmp_path, "a.csv", content, encoding="latin-1")
    assert frame["text"].to_list() == ["café au lait"]
    with pytest.raises(UnreadableEncoding, match=r"a\.csv is not text in utf-8: byte 14"):
        read(tmp_path, "a.csv", content, encoding="utf-8")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_of_text_are_unlabelled_records(end: str, tmp_path: Path) -> None:
    frame = read(tmp_path, "a.txt", end.join(["第一", "", "第三\u2028仍是第三", "last"]) + end)
    assert frame["text"].to_list() == ["第一", "", "第三\u2028仍是第三", "last"]
    assert frame["label"].null_count() == 4
    assert frame["row"].to_list() == [1, 2, 3, 4]


def test_empty_lines_and_cells_and_unknown_values(tmp_path: Path) -> None:
    frame = read(tmp_path, "a.jsonl", '\n{"text": "a b c", "label": " x "}\n\n{"text": "d"}\n')
    assert frame.select("text", "label").rows() == [("a b c", "x"), ("d", None)]
    frame = read(
        tmp_path,
        "b.json",
        '{"data": [{"text": "long text", "label": true}, {"text": 5, "label": ""}]}',
    )
    assert frame.select("text", "label").rows() == [("long text", "true"), ("5", None)]


def test_a_bad_row_is_quarantined_with_its_file_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text('text,label\ngood text,x\nragged\n"open,x\nlast text,y\n')
    (folder / "b.jsonl").write_text('{"text": "good text"}\n{"text": \n[]\n')
    quarantine = Quarantine()
    frame = collected(Files(path="data"), tmp_path, quarantine)
    assert frame.select("text", "source", "row").rows() == [
        ("good text", "data/a.csv", 1),
        ("last text", "data/a.csv", 4),
        ("good text", "data/b.jsonl", 1),
    ]
    assert sorted((bad.source, bad.row, bad.reason) for bad in quarantine.shown) == [
        ("data/a.csv", 2, "ragged"),
        ("data/a.csv", 3, "open_quote"),
        ("data/b.jsonl", 2, "not_json"),
        ("data/b.jsonl", 3, "not_an_object"),
    ]


def test_folders_are_labels_and_tables_beside_them_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "data" / "坏.csv").mkdir(parents=True)
    for name, content in {
        "data/正面/1.txt": "很好\n真的",
        "data/负面/1.txt": "很差",
        "data/负面/2.TXT": "很脏",
        "data/负面/3.html": "<p>很吵</p>",
        "data/more.csv": "text,label\n不错的酒店,正面\n",
        "data/正面/more.csv": "text\n干净的酒店\n",
        "data/read.md": "# 说明",
        "data/.hidden/a.txt": "no",
        "data/._more.csv": "no",
        "data/ignored.docx": "no",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "data/正面/packed.txt.gz").write_bytes(gzip.compress("很棒".encode()))
    pdf(["One page.", "Another page."], tmp_path / "data/负面/4.pdf")
    source = Files(path="data")
    frame = collected(source, tmp_path)
    assert sorted(frame.select("text", "label", "source", "row").rows(), key=str) == [
        ("# 说明", None, "data/read.md", 1),
        ("<p>很吵</p>", "负面", "data/负面/3.html", 1),
        ("Another page.", "负面", "data/负面/4.pdf", 2),
        ("One page.", "负面", "data/负面/4.pdf", 1),
        ("不错的酒店", "正面", "data/more.csv", 1),
        ("干净的酒店", "正面", "data/正面/more.csv", 1),
        ("很好\n真的", "正面", "data/正面/1.txt", 1),
        ("很差", "负面", "data/负面/1.txt", 1),
        ("很棒", "正面", "data/正面/packed.txt.gz", 1),
        ("很脏", "负面", "data/负面/2.TXT", 1),
    ]
    # The pages of a document must not stand on both sides of a split.
    assert frame.filter(pl.col("group").is_not_null())["group"].to_list() == ["data/负面/4.pdf"] * 2
    # However many the texts, they are one piece; each table is one.
    pieces = list(source.pieces(tmp_path, None))
    assert [piece.name for piece in pieces] == ["data/more.csv", "data/正面/more.csv", "data"]


def test_many_small_texts_come_in_few_frames(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3000):
            (tmp_path / "data" / label / f"{number}.txt").write_text(f"text {number}")
    (piece,) = Files(path="data").pieces(tmp_path, None)
    frames = list(piece.frames(Quarantine()))
    assert len(frames) == 2
    assert sum(frame.height for frame in frames) == 6000


def test_lines_of_tokens_and_tags_are_sentences(tmp_path: Path) -> None:
    text = "张\tB-PER\n三\tI-PER\n来\tO\n\n李\tB-PER\n四\tI-PER\n走\tO\n"
    frame = read(tmp_path, "a.txt", text)
    assert frame["text"].to_list() == ["张三来", "李四走"]
    assert frame["row"].to_list() == [1, 5]
    spans = frame["spans"].to_list()
    assert spans[0] == [{"start": 0, "end": 2, "label": "PER"}]
    (tmp_path / "data/split").mkdir(parents=True)
    (tmp_path / "data/split/a.conll").write_text(text, encoding="utf-8")
    assert collected(Files(path="data"), tmp_path)["text"].to_list() == ["张三来", "李四走"]


def test_layouts_are_told_and_can_be_named(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"}]
    frame = read(tmp_path, "a.jsonl", json.dumps({"messages": turns}))
    assert frame["text"].to_list() == ["你好\n好"]
    assert [span["label"] for span in frame["spans"][0]] == ["user", "assistant"]
    plain = read(tmp_path, "b.csv", "text,label,x\nsome text,y,1\n", layout="tabular")
    assert plain["text"].to_list() == [None]


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


def test_a_column_that_later_chunks_lack_is_null_there(tmp_path: Path) -> None:
    lines = ['{"text": "first text", "label": "x"}'] * 100 + ['{"text": "later"}'] * 400_000
    frame = read(tmp_path, "a.jsonl", "\n".join(lines))
    assert frame.height == 400_100
    assert frame["label"].null_count() == 400_000


def test_a_misspelt_role_is_refused_and_one_of_ones_own_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="did 'lable' mean 'label'"):
        Files(path="x", columns={"lable": "x"})
    columns = {"text": "text", "shop": "b"}
    frame = read(tmp_path, "a.csv", "text,b\nfirst text,x\n", columns=columns)
    assert json.loads(frame["fields"][0]) == {"shop": "x"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", "{"),
        ("a.json", "3"),
        ("a.parquet", "PAR1 no parquet at all PAR1"),
        ("a.parquet", ""),
        ("a.xlsx", "x"),
        ("a.pdf", ""),
        ("a.csv.gz", "text,label\n"),
    ],
)
def test_what_cannot_be_read_is_told_with_file_and_mend(
    name: str, content: str, tmp_path: Path
) -> None:
    with pytest.raises(UnreadableFile, match=name) as caught:
        read(tmp_path, name, content)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "content", "bad"),
    [
        ("a.json", "[1]", [(1, "not_an_object")]),
        ("a.json", "[" * 100_000, [(1, "too_deep")]),
        ("a.json", '[{"text": "\\ud800"}]', [(1, "not_text")]),
        ("a.jsonl", "[]\n", [(1, "not_an_object")]),
        ("a.csv", "text,label\na,b,c,d\n", [(1, "ragged")]),
        ("a.csv", "", []),
        ("a.csv", "\n\n", []),
        ("a.csv", "text,label\n", []),
        ("a.json", "[]", []),
        ("a.jsonl", "\n", []),
        ("a.txt", "", []),
        ("a.md", "", []),
    ],
)
def test_a_file_without_records_is_no_error_of_its_own(
    name: str, content: str, bad: list[tuple[int, str]], tmp_path: Path
) -> None:
    frame, found = read_all(tmp_path, name, content)
    assert frame.is_empty()
    assert found == bad


def test_columns_of_lists_are_refused_clearly(tmp_path: Path) -> None:
    target = io.BytesIO()
    pl.DataFrame({"text": [{"a": 1}], "label": [["x"]]}).write_parquet(target)
    frame, bad = read_all(tmp_path, "a.parquet", target.getvalue(), columns={"text": "text"})
    assert frame.is_empty()
    assert bad == [(1, "no_text")]


def test_a_file_or_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    source = Files(path="gone.csv")
    with pytest.raises(FileMissing, match=r"gone\.csv is not there"):
        source.identity(tmp_path)
    with pytest.raises(FileMissing, match=r"gone\.csv is not there"):
        collected(source, tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.docx").touch()
    with pytest.raises(NoRecords, match="holds no records") as caught:
        collected(Files(path="empty"), tmp_path)
    assert ".xlsx" in (caught.value.remedy or "")


def test_a_file_that_may_not_be_read_is_not_called_unwritable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")
    source = Files(path="a.csv")
    (piece,) = source.pieces(tmp_path, None)

    def refuse(*_arguments: object, **_named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NotReadable):
        source.identity(tmp_path)
    with pytest.raises(NotReadable):
        list(piece.frames(Quarantine()))


def test_the_identity_changes_with_content_names_and_settings(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text("text\nx\n")
    source = Files(path="data")
    seen = {source.identity(tmp_path)}
    assert source.identity(tmp_path) in seen
    seen.add(Files(path="data", columns={"text": "text"}).identity(tmp_path))
    (folder / "a.csv").write_text("text\ny\n")
    seen.add(source.identity(tmp_path))
    (folder / "b.csv").write_text("")
    seen.add(source.identity(tmp_path))
    (folder / "b.csv").rename(folder / "c.csv")
    seen.add(source.identity(tmp_path))
    (folder / "a.txt").write_text("x")
    (folder / "b.txt").write_text("")
    seen.add(source.identity(tmp_path))
    (folder / "b.txt").rename(folder / "c.txt")
    seen.add(source.identity(tmp_path))
    assert len(seen) == 7


def test_a_link_to_a_file_elsewhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere.csv").write_text("text\nsome text\n")
    (tmp_path / "data" / "a.csv").symlink_to(tmp_path / "elsewhere.csv")
    (tmp_path / "data" / "broken.csv").symlink_to(tmp_path / "gone.csv")
    assert collected(Files(path="data"), tmp_path)["text"].to_list() == ["some text"]


FORMS = ["csv", "tsv", "json", "jsonl", "txt", "md", "parquet", "arrow", "csv.gz", "jsonl.zst",
         "xlsx", "pdf"]  # fmt: skip


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200), form=st.sampled_from(FORMS))
def test_any_bytes_are_records_or_told(content: bytes, form: str, tmp_path: Path) -> None:
    try:
        frame, bad = read_all(tmp_path, f"any.{form}", content)
    except FeilunError as error:
        remedy = error.remedy
        assert remedy
    else:
        assert frame.height >= 0
        assert all(row >= 1 for row, _reason in bad)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1,
                max_size=10), min_size=1, max_size=6,
    )
)  # fmt: skip
def test_any_texts_survive_csv_and_jsonl(texts: list[str], tmp_path: Path) -> None:
    frame = pl.DataFrame({"text": texts})
    named: dict[str, Any] = {"columns": {"text": "text"}, "layout": "labelled"}
    assert read(tmp_path, "a.jsonl", jsonl(frame), **named)["text"].to_list() == texts
    assert (
        read(tmp_path, "a.csv", frame.write_csv(quote_style="always"), **named)["text"].to_list()
        == texts
    )


def test_a_tagged_file_in_a_folder_keeps_the_documents_it_names(tmp_path: Path) -> None:
    """The folder and the file say nothing of what the file says itself."""
    lines = "-DOCSTART- O\n\n张 B-PER\n三 I-PER\n\n-DOCSTART- O\n\n北 B-LOC\n京 I-LOC\n"
    (tmp_path / "news").mkdir()
    (tmp_path / "news" / "a.conll").write_text(lines, encoding="utf-8")
    source = Files(path="news")
    quarantine = Quarantine()
    frames = [f for piece in source.pieces(tmp_path, None) for f in piece.frames(quarantine)]
    frame = pl.concat(frames, how="diagonal")
    assert frame["text"].to_list() == ["张三", "北京"]
    groups = frame["group"].to_list()
    assert None not in groups
    assert groups[0] != groups[1], "two documents"


def test_stars_are_a_label_before_any_other_column_of_few_values(tmp_path: Path) -> None:
    rows = [f"这家店的东西真的很不错 {n},{'是' if n % 2 else '否'},{n % 5}" for n in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(["评论,已购买,星级", *rows]), encoding="utf-8")
    (piece,) = Files(path="x.csv").pieces(tmp_path, None)
    frame = pl.concat(piece.frames(Quarantine()))
    assert frame["label"].to_list() == [str(n % 5) for n in range(40)]
