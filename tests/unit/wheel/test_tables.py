"""Tables in files for people: every format is read, formulas are neutralised in what is written."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from feilun.core.errors import FeilunError
from feilun.stages.collect.source import Quarantine
from feilun.wheel.tables import read_texts, texts, unescaped, unreadable, write_table

RISKY = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "''-", "plain", "'quoted'", "", "负面"]


def test_formulas_are_neutralised_in_csv_and_come_back(tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": RISKY, "n": range(len(RISKY))})
    write_table(frame, tmp_path / "t.csv")
    table = pl.read_csv(tmp_path / "t.csv", infer_schema=False)
    assert not any(cell[:1] in "=+-@\t\r" for cell in table["a"] if cell)
    assert (tmp_path / "t.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    assert unescaped(table)["a"].fill_null("").to_list() == RISKY


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_other_formats_keep_every_byte(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{form}"
    write_table(pl.DataFrame({"a": RISKY}), path)
    assert read_texts(path, "a", Quarantine()) == RISKY


def test_an_unknown_ending_is_told(tmp_path: Path) -> None:
    with pytest.raises(FeilunError, match=r"must be \.csv, \.jsonl or \.parquet"):
        write_table(pl.DataFrame({"a": [1]}), tmp_path / "t.xlsx")
    write_table(pl.DataFrame({"n": [1]}), tmp_path / "t.csv")


def test_texts_of_every_kind_of_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\nthree\n")
    (tmp_path / "a.md").write_text("# one\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"n,review\n1,one text\n2,\n"))
    (tmp_path / "a.json").write_text('[{"text": "one"}, {"other": 1}]')
    for name, wanted in (
        ("a.txt", ["one", "", "three"]),
        ("a.md", ["# one\n"]),
        ("a.csv.gz", ["one text", ""]),
        ("a.json", ["one", ""]),
    ):
        assert read_texts(tmp_path / name, None, Quarantine()) == wanted
    for name, code in (("a.docx", "unknown_ending"), ("gone.csv", "file_missing")):
        if name == "a.docx":
            (tmp_path / name).touch()
        with pytest.raises(FeilunError) as caught:
            read_texts(tmp_path / name, None, Quarantine())
        assert caught.value.code == code
        assert caught.value.remedy


def test_texts_come_some_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n' * 100_000 + '{"t": 1}\n' * 600_000)
    parts = list(texts(tmp_path / "a.jsonl", None, Quarantine()))
    assert len(parts) > 2
    assert max(map(len, parts)) <= 65_536
    assert sum(map(len, parts)) == 700_000
    assert parts[0][0] == "one"
    assert parts[-1][-1] == ""


def test_rows_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    quarantine = Quarantine()
    assert unreadable(quarantine) is None
    (tmp_path / "a.csv").write_text("text,b\nfirst text,1\nx\ny\nz\0,1\nlast text,2\n")
    assert read_texts(tmp_path / "a.csv", None, quarantine) == ["first text", "last text"]
    sentence = unreadable(quarantine) or ""
    assert sentence.startswith("3 rows could not be read and were left out: 2 ")
    assert "(row 2), 1 " in sentence
    assert sentence.endswith("(row 4)")
