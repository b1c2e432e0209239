"""`feilun predict FILE`: any size, in bounded memory, with the answers of `project.predict`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from feilun.cli.main import main
from feilun.stages.collect.source import Quarantine
from feilun.tasks import Classify
from feilun.wheel import bulk
from feilun.wheel.bulk import answers_of, answers_table, predict_file
from feilun.wheel.project import Project

ODD = ["", "…", "✓", "=1+1", "ÅÄÖ", "①", "zzzz qqqq", "\U0001f600"]
TEXTS = ["质量不错，推荐", *ODD, "terrible phone"]


def read(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    if path.suffix == ".jsonl":
        return pl.read_ndjson(path)
    return pl.read_csv(path, infer_schema=False)


def test_the_fast_way_says_what_the_task_says(trained_project: Project) -> None:
    release = trained_project.release
    assert release is not None
    model = trained_project.predictor(release.model)
    fast = answers_of(Classify(), model, TEXTS)
    slow = answers_table(Classify().answers(model, TEXTS), [""] * len(TEXTS))
    assert fast.drop("score", "scores").equals(slow.drop("score", "scores"))
    assert fast["score"].to_list() == pytest.approx(slow["score"].to_list(), abs=1e-7)
    for one, other in zip(fast["scores"], slow["scores"], strict=True):
        assert json.loads(one) == pytest.approx(json.loads(other), abs=1e-6)
    assert fast["reason"].to_list()[:3] == [None, "empty", "empty"]


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_file_of_many_pieces_is_written_whole_and_in_order(
    trained_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    pieces = [[f"质量不错 {number}" for number in range(at, at + 100)] for at in range(0, 700, 100)]
    monkeypatch.setattr(bulk, "texts", lambda *_given: iter(pieces))
    seen: list[int] = []
    out = tmp_path / f"out{ending}"
    count = predict_file(
        trained_project, tmp_path / "in.csv", out,
        columns={}, quarantine=Quarantine(), progress=seen.append,
    )  # fmt: skip
    assert (count, seen) == (700, [100, 200, 300, 400, 500, 600, 700])
    table = read(out)
    assert table.columns == ["text", "label", "score", "scores", "reason", "id"]
    assert table["text"].to_list() == [text for piece in pieces for text in piece]
    wanted = [one.label for one in trained_project.predict(table["text"].to_list(), log=False)]
    assert table["label"].to_list() == wanted
    assert {path.name for path in tmp_path.iterdir()} == {out.name, "reviews"}


def test_what_fails_in_the_middle_leaves_what_was_there(
    trained_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_given: Any) -> Any:
        yield ["好"]
        raise OSError(5, "the disk")

    monkeypatch.setattr(bulk, "texts", breaks)
    out = tmp_path / "out.csv"
    out.write_text("before")
    with pytest.raises(OSError, match="the disk"):
        predict_file(trained_project, out, out, columns={}, quarantine=Quarantine())
    assert out.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", "reviews"}


@pytest.mark.parametrize("log", [False, True])
def test_the_command_writes_what_it_read(
    project_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], log: bool
) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.csv"
    pl.DataFrame({"text": TEXTS}).write_csv(source)
    more = ["--log"] if log else []
    ran = ["predict", str(source), "--out", str(out), "-C", str(project_folder), "--json", *more]
    assert main(ran) == 0, capsys.readouterr()
    assert json.loads(capsys.readouterr().out) == {"rows": len(TEXTS), "path": str(out)}
    table = read(out)
    assert table["text"].to_list()[4] == "'=1+1"
    with Project.open(project_folder) as project:
        logged = [row["id"] for row in project.events.predictions(0)]
    assert sorted(logged) == (sorted(table["id"].to_list()) if log else [])


def test_an_empty_table_gives_an_empty_table(trained_project: Project, tmp_path: Path) -> None:
    source, out = tmp_path / "in.csv", tmp_path / "out.parquet"
    source.write_text("text\n")
    count = predict_file(trained_project, source, out, columns={}, quarantine=Quarantine())
    assert count == 0
    assert read(out).columns == ["text", "label", "score", "scores", "reason", "id"]
