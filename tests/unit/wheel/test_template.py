"""`feilun new`: a folder that can turn, or a clear error and nothing written."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from feilun.core.errors import FeilunError
from feilun.wheel.project import Project
from feilun.wheel.template import new


def make(
    folder: Path, name: str = "reviews", data: str = "data.csv", **more: str | None
) -> Project:
    options: dict[str, str | None] = {"text": None, "label": None, "task": "classify"} | more
    task = options.pop("task") or ""
    return new(name, task=task, data=folder / data, parent=folder, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data.csv").write_text("id,评论,类别\n1,房间很干净，满意,好\n", encoding="utf-8")
    return tmp_path


def test_a_new_project_names_its_columns_and_its_source_relatively(folder: Path) -> None:
    source = make(folder).settings.collect.sources[0].model_dump()
    assert source["path"] == "../data.csv"
    assert source["columns"] == {"text": "评论", "label": "类别"}
    assert (folder / "reviews" / ".gitignore").read_text() == ".feilun/\n"


def test_named_columns_are_taken_as_they_are(folder: Path) -> None:
    odd = 'a "b" \\ \x7f'
    pl.DataFrame({odd: ["some longer text"], "y": ["x"]}).write_ndjson(folder / "odd.jsonl")
    source = make(folder, data="odd.jsonl", text=odd, label="y").settings.collect.sources[0]
    assert source.model_dump()["columns"] == {"text": odd, "label": "y"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": "../up"}, "bad_name"),
        ({"name": "a/b"}, "bad_name"),
        ({"name": ""}, "bad_name"),
        ({"name": "x" * 65}, "bad_name"),
        ({"name": "a\nb"}, "bad_name"),
        ({"name": ".hidden"}, "bad_name"),
        ({"data": "gone.csv"}, "file_missing"),
        ({"data": "a.docx"}, "no_records"),
        ({"data": "a.xlsx"}, "unreadable_file"),
        ({"data": "head.csv"}, "no_records"),
        ({"data": "empty"}, "no_records"),
        ({"text": "评伦"}, "column_missing"),
        ({"text": "评论", "label": "y"}, "column_missing"),
        ({"name": "data.csv"}, "project_exists"),
    ],
)
def test_what_cannot_be_a_project_is_told_and_nothing_is_written(
    options: dict[str, str], code: str, folder: Path
) -> None:
    (folder / "a.xlsx").touch()
    (folder / "a.docx").mkdir()
    (folder / "head.csv").write_text("text,label\n")
    (folder / "empty" / "dir.csv").mkdir(parents=True)
    before = sorted(path.name for path in folder.rglob("*"))
    with pytest.raises(FeilunError) as caught:
        make(folder, **options)
    assert caught.value.code == code
    assert caught.value.remedy
    assert sorted(path.name for path in folder.rglob("*")) == before


def test_what_is_there_already_is_left_alone(folder: Path) -> None:
    (folder / "reviews").mkdir()
    (folder / "reviews" / ".gitignore").write_text("mine\n")
    make(folder)
    assert (folder / "reviews" / ".gitignore").read_text() == "mine\n"
    (folder / "reviews" / "feilun.toml").write_text("mine")
    with pytest.raises(FeilunError, match="is there already"):
        make(folder)
    assert (folder / "reviews" / "feilun.toml").read_text() == "mine"


def test_a_folder_of_labels_needs_no_columns(folder: Path) -> None:
    for label in ("好", "差"):
        (folder / "texts" / label).mkdir(parents=True)
        (folder / "texts" / label / "1.txt").write_text("x")
    source = make(folder, data="texts").settings.collect.sources[0].model_dump()
    assert source["columns"] == {}


def test_what_is_no_labelled_table_names_no_columns(folder: Path) -> None:
    turns = '[{"role": "user", "content": "你好"}, {"role": "assistant", "content": "好"}]'
    (folder / "chat.jsonl").write_text(f'{{"messages": {turns}}}\n', encoding="utf-8")
    source = make(folder, data="chat.jsonl").settings.collect.sources[0].model_dump()
    assert source["columns"] == {}


ENTITY = '{"text": "我在北京", "spans": [[2, 4, "地"]]}\n{"text": "他", "spans": []}\n'


@pytest.mark.parametrize(
    ("task", "name", "content", "columns"),
    [
        ("tag", "a.jsonl", ENTITY, {}),
        ("tag", "a.bio", "我 O\n在 O\n北 B-地\n京 I-地\n", {}),
        ("tag", "a.csv", "句子,类别\n我在北京,a\n他在上海,b\n", {"text": "句子"}),
        (
            "match",
            "a.csv",
            "问题1,问题2,相似度\n怎么退货,如何退款,1\n",
            {"first": "问题1", "second": "问题2", "label": "相似度"},
        ),
        (
            "regress",
            "a.csv",
            "id,内容,评分,类别\n1,房间很干净,4.5,好\n2,太吵了,2,差\n",
            {"text": "内容", "label": "评分"},
        ),
        (
            "regress",
            "a.csv",
            "id,内容,度,类别\n1,房间很干净,4.5,好\n2,太吵了,2,差\n",
            {"text": "内容", "label": "度"},
        ),
        ("regress", "a.csv", "id,内容,类别\n1,房间很干净,好\n2,太吵了,差\n", {"text": "内容"}),
    ],
)
def test_each_task_has_its_own_template(
    task: str, name: str, content: str, columns: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    project = make(tmp_path, "p", name, task=task)
    assert project.settings.project.task.use == task
    assert project.settings.metric == project.settings.project.task.metrics[0]
    assert project.settings.collect.sources[0].model_dump()["columns"] == columns


def test_columns_of_a_pair_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("问,候选,标\n怎么退,如何退,1\n", encoding="utf-8")
    with pytest.raises(FeilunError, match="问, 候选, 标") as caught:
        make(tmp_path, "p", "a.csv", task="match")
    assert caught.value.code == "no_pair"
    assert caught.value.remedy
    assert not (tmp_path / "p").exists()
    named: dict[str, str | None] = {"first": "问", "second": "候选", "label": "标"}
    source = make(tmp_path, "p", "a.csv", task="match", **named).settings.collect.sources[0]
    assert source.model_dump()["columns"] == named


def test_a_step_that_has_no_meaning_for_the_task_is_told_when_a_project_opens(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.jsonl").write_text(ENTITY, encoding="utf-8")
    path = make(tmp_path, "p", "a.jsonl", task="tag").root / "feilun.toml"
    path.write_text(path.read_text() + '\n[[prepare.steps]]\nuse = "label_errors"\n')
    with pytest.raises(FeilunError) as caught:
        assert Project.open(path.parent).settings
    assert caught.value.code == "step_unfit"
