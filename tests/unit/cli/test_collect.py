"""`feilun collect --preview`, in both languages and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from feilun.cli.main import main

Cap = pytest.CaptureFixture[str]

SETTINGS = """\
[project]
name = "look"
task = "classify"

[[collect.sources]]
use = "files"
path = "data"
"""
MISSING = """
[[collect.sources]]
use = "files"
path = "nowhere.csv"
"""


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEILUN_LANG", "en")
    (tmp_path / "feilun.toml").write_text(SETTINGS, "utf-8")
    (tmp_path / "data").mkdir()
    rows = "".join(
        f"[red]物流很快[/red] {n},{'正面负面'[n % 2 * 2 :][:2]},{n}\n" for n in range(40)
    )
    (tmp_path / "data/评论.csv").write_bytes(("评论,类别,编号\n" + rows).encode("gb18030"))
    turns = [{"role": "user", "content": "在吗\n你好"}, {"role": "assistant", "content": "在"}]
    lines = [{"messages": turns}, {"messages": "x"}]
    (tmp_path / "data/chat.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    return tmp_path


def test_tables_for_people(inside: Path, capsys: Cap) -> None:
    assert main(["collect", "--preview", "--show", "2"]) == 0
    out = capsys.readouterr().out
    assert "data/评论.csv  csv · gb18030 · labelled" in out
    assert "data/chat.jsonl  jsonl · utf-8 · messages" in out
    lines = [line.split() for line in out.splitlines()]
    assert ["类别", "category", "of", "2", "label", "正面"] in lines
    assert ["编号", "integer", "–", "0"] in lines
    assert ["2", "[red]物流很快[/red]", "1", "负面"] in lines, "what users wrote is no markup"
    assert ["1", "在吗", "⏎", "你好", "⏎", "在", "user×1", "assistant×1"] in lines
    assert "[red]物流很快[/red] 2" not in out, "two records were asked for"
    assert "Could not be read so far:" in out
    assert not (inside / ".feilun").exists(), "looking writes nothing"


def test_the_same_in_chinese(inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: Cap) -> None:
    monkeypatch.setenv("FEILUN_LANG", "zh")
    assert main(["collect", "--preview"]) == 0
    headings = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["行", "文本", "标签"] in headings


def test_json_for_programs(inside: Path, capsys: Cap) -> None:
    assert main(["collect", "--preview", "--show", "3", "--json"]) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert (source["use"], source["more"]) == ("files", False)
    chat, reviews = source["pieces"]
    assert chat["unreadable"] == {"not_messages": 1}
    assert chat["shown"][0]["row"] == 2
    assert [span["label"] for span in chat["records"][0]["spans"]] == ["user", "assistant"]
    assert reviews["details"]["encoding"] == "gb18030"
    assert len(reviews["records"]) == 3
    assert [c["becomes"] for c in reviews["columns"]] == ["text", "label", ""]


def test_a_source_that_fails_hides_no_other(inside: Path, capsys: Cap) -> None:
    (inside / "feilun.toml").write_text(
        SETTINGS.replace("[[collect", MISSING + "\n[[collect", 1), "utf-8"
    )
    assert main(["collect", "--preview"]) == 3
    out = capsys.readouterr().out
    assert "nowhere.csv is not there" in out
    assert "data/评论.csv" in out
    assert main(["collect", "--preview", "--json"]) == 3
    failed, fine = json.loads(capsys.readouterr().out)["sources"]
    assert failed["error"]["code"] == "file_missing"
    assert fine["pieces"]


def test_without_preview_it_is_a_turn_as_far_as_collect(inside: Path, capsys: Cap) -> None:
    assert main(["collect", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["status"], list(made["stages"])) == ("open", ["collect"])


def test_the_stages_are_listed_in_their_order(inside: Path, capsys: Cap) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    places = [out.index(f" {stage} ") for stage in ("turn", "collect", "prepare", "train")]
    assert places == sorted(places)
