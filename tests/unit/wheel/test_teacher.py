"""A turn with a teacher: which model it is, and that it counts for what is made."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import cast

import pytest

from feilun.core.artifacts import Model
from feilun.core.config import ConfigError
from feilun.core.refs import Ref
from feilun.stages.train.teachers.local import NoTeacher
from feilun.wheel.project import Project
from feilun.wheel.reproduce import reproduce
from tests.conftest import sentences, write_project

DISTIL = '\n[train.distil]\nteacher = {{ use = "{use}", {more} }}\n'


def with_teacher(root: Path, use: str, more: str) -> Project:
    """The project in `root` with a teacher, and a few records without a label."""
    path = root / "feilun.toml"
    old = path.read_text(encoding="utf-8").partition("\n[train.distil]")[0]
    path.write_text(old + DISTIL.format(use=use, more=more), encoding="utf-8")
    if (root / "reviews.csv").read_text(encoding="utf-8").count("unlabelled") == 0:
        with (root / "reviews.csv").open("a", encoding="utf-8", newline="") as target:
            rows = [(f"{text} unlabelled", "") for text, _label in sentences(60, seed=99)]
            csv.writer(target).writerows(rows)
    return Project.open(root)


def inputs(project: Project) -> dict[str, str]:
    return project.stored("model/latest").inputs


def test_the_live_model_teaches_and_is_given_back_to_reproduce(project_folder: Path) -> None:
    with with_teacher(project_folder, "model", 'ref = "model/live"') as project:
        assert project.release is not None
        live = project.release.model
        turn = project.turn(until="train")
        (step,) = [step for step in turn.steps if step.stage == "train"]
        assert step.cost.spent["distilled"] >= 50
        assert inputs(project)["teacher"] == live.digest
        again = project.turn(until="train")
        assert [step.reused for step in again.steps if step.stage == "train"] == [True]
        result = reproduce(project, "model/latest")
        assert result.same
        assert result.inputs_changed == ()
        made = cast(Model, project.get("model/latest"))
        assert made.digest != live.digest


def test_another_teacher_makes_another_model_and_the_same_one_the_same(
    project_folder: Path,
) -> None:
    with with_teacher(project_folder, "model", 'ref = "model/live"') as project:
        taught = project.turn(until="train").model
    with with_teacher(project_folder, "model", 'ref = "model/1"') as project:
        turn = project.turn(until="train")
        assert turn.model is not None
        assert taught is not None
        assert turn.model.files == taught.files
        live = project.model(Ref.parse("model/1"))
        folder = project.blobs_of(live)
        copy = shutil.copytree(folder, project_folder / "teacher")
    with with_teacher(project_folder, "folder", 'path = "teacher"') as project:
        turn = project.turn(until="train")
        assert turn.model is not None
        assert turn.model.files == taught.files
        assert inputs(project)["teacher_folder"].startswith("sha256:")
        assert "teacher" not in inputs(project)
        (Path(copy) / "README.md").write_text("x", encoding="utf-8")
        turn = project.turn(until="train")
        assert [s.reused for s in turn.steps if s.stage == "train"] == [False]


@pytest.mark.parametrize("ref", ["model/live", "model/7", "model/sha256:00000000"])
def test_a_teacher_that_is_not_there_ends_the_turn_before_anything_is_read(
    ref: str, tmp_path: Path
) -> None:
    root = write_project(tmp_path / "fresh", sentences(60))
    with with_teacher(root, "model", f'ref = "{ref}"') as project:
        with pytest.raises(NoTeacher, match=ref):
            project.turn()
        assert project.turns()[0].steps == ()
        assert project.turn(until="prepare").dataset is not None, "so far nobody is needed"


def test_a_mistake_in_its_settings_is_told_with_its_line(project_folder: Path) -> None:
    for more, told in (
        ('ref = "model/latest"', "train.distil.teacher"),
        ('reff = "model/1"', "did you mean 'ref'"),
    ):
        with pytest.raises(ConfigError, match=told):
            with_teacher(project_folder, "model", more)
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        with_teacher(project_folder, "models", 'ref = "model/1"')
