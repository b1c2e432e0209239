"""`feilun predict` where the model compares two texts, and odd input to either kind of model."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from feilun.cli.main import main
from feilun.core.errors import FeilunError
from feilun.wheel.project import Project
from feilun.wheel.template import new

Cap = pytest.CaptureFixture[str]
DATA = Path(__file__).parent.parent.parent.parent / "examples" / "data" / "questions.csv"
SAME, OTHER = ("怎么申请退款", "退款怎么申请"), ("怎么申请退款", "几点关门")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the task `match` with a live model; only asked, so its tests share it."""
    root = tmp_path_factory.mktemp("pairs")
    new("questions", task="match", data=DATA, text=None, label=None, parent=root).close()
    path = root / "questions" / "feilun.toml"
    path.write_text(path.read_text("utf-8").replace('= "auto"', '= "ngram"'), "utf-8")
    with Project.open(root / "questions") as project:
        verdict = project.turn().verdict
        assert verdict is not None
        assert verdict.released
    return root / "questions"


@pytest.fixture
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEILUN_LANG", "en")
    monkeypatch.chdir(folder)
    return folder


def test_texts_are_taken_by_twos(inside: Path, capsys: Cap) -> None:
    assert main(["predict", *SAME, *OTHER, "--json"]) == 0
    assert [one["label"] for one in json.loads(capsys.readouterr().out)] == ["1", "0"]
    assert main(["predict", *SAME]) == 0
    assert " | ".join(SAME) in capsys.readouterr().out
    with Project.open(inside) as project:
        logged = [row["input"] for row in project.events.predictions(0)]
    assert json.dumps(SAME, ensure_ascii=False, separators=(",", ":")) in logged


def test_a_text_without_its_other_is_refused(inside: Path, capsys: Cap) -> None:
    assert main(["predict", "怎么退款"]) == 2
    assert "two texts at a time; 1" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("question1", "question2"), ("问", "候选")])
def test_a_table_of_pairs_gives_one_with_answers(
    inside: Path, tmp_path: Path, names: tuple[str, str], capsys: Cap
) -> None:
    rows = [SAME, OTHER, ("", None)]
    source = tmp_path / "pairs.csv"
    pl.DataFrame(rows, schema=list(names), orient="row").write_csv(source)
    target = tmp_path / "out.csv"
    named = [] if names[0] == "question1" else ["--first", names[0], "--second", names[1]]
    assert main(["predict", str(source), "--out", str(target), *named]) == 0, capsys.readouterr()
    table = pl.read_csv(target, infer_schema=False)
    assert table.columns == ["first", "second", "label", "score", "scores", "reason", "id"]
    assert table["second"].to_list()[:2] == [SAME[1], OTHER[1]]
    assert table["label"].to_list() == ["1", "0", None]


def test_a_table_without_a_pair_says_which_columns_it_has(
    inside: Path, tmp_path: Path, capsys: Cap
) -> None:
    source = tmp_path / "texts.csv"
    source.write_text("text,other\n好,坏\n", "utf-8")
    assert main(["predict", str(source)]) == 2
    assert "other" in capsys.readouterr().err


def test_python_is_told_what_is_wanted(inside: Path, trained_project: Project) -> None:
    with Project.open(inside) as project, pytest.raises(FeilunError) as refused:
        project.predict([SAME, "怎么退款"], log=False)
    assert (refused.value.code, "Input 2" in refused.value.message) == ("odd_input", True)
    with pytest.raises(FeilunError) as refused:
        trained_project.predict([SAME], log=False)
    assert refused.value.code == "odd_input"


def test_lists_of_labels_make_a_project_of_several_labels(tmp_path: Path) -> None:
    data = DATA.parent / "complaints.jsonl"
    with new(
        "complaints", task="classify", data=data, text=None, label=None, parent=tmp_path
    ) as project:
        assert project.settings.project.task.named() == {"use": "classify", "multiple": True}
        assert project.settings.release.metric == "micro_f1"
