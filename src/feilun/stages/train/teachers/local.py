"""Teachers that are models of ours: of this project, or in some folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from feilun.core.artifacts import Model
from feilun.core.errors import Missing, shortened
from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models import Lesson, load
from feilun.models.folder import CARD, read_card, read_task
from feilun.stages.train.teachers.teacher import Answers, Opinion, Teacher, TeacherDiffers
from feilun.tasks import Task

if TYPE_CHECKING:
    import polars as pl


class NoTeacher(Missing):
    """The model that is to teach is not there."""

    def __init__(self, named: str) -> None:
        super().__init__(
            _("The teacher {named} of [train.distil] is not there.").format(named=shortened(named)),
            remedy=_(
                "Name a model that is (feilun history), or leave out [train.distil] until there "
                "is one."
            ),
        )


class ModelTeacher(Teacher):
    """A model of this project. `model/live` changes with every release: then the one that was
    just taught is the next teacher. A number stays."""

    use: ClassVar[str] = "model"

    ref: str = Field(
        "model/live",
        pattern=r"^model/(live|[0-9]+|sha256:[0-9a-f]{6,64})$",
        description="which: `model/live`, `model/3`, `model/sha256:…`",
    )

    def reference(self) -> str | None:
        return self.ref

    def ready(self, lesson: Lesson, model: Model | None, run: Run) -> Answers:
        if model is None:
            raise NoTeacher(self.ref)
        return answers_of(run.unpack(model), lesson)


class FolderTeacher(Teacher):
    """A model in a folder, as `feilun export` writes it: of another project, say."""

    use: ClassVar[str] = "folder"

    path: str = Field(min_length=1, description="relative to the project")

    def reads(self, root: Path) -> dict[str, str]:
        """One digest over the names and bytes of all its files; raises `NoTeacher`."""
        folder = self._folder(root)
        digest = hashlib.sha256()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with path.open("rb") as source:
                found = hashlib.file_digest(source, "sha256").hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()}\0{found}\n".encode())
        return {"teacher_folder": f"sha256:{digest.hexdigest()}"}

    def ready(self, lesson: Lesson, model: Model | None, run: Run) -> Answers:
        return answers_of(self._folder(run.root), lesson)

    def _folder(self, root: Path) -> Path:
        folder = root / Path(self.path).expanduser()
        if not (folder / CARD).is_file():
            raise NoTeacher(self.path)
        return folder


def answers_of(folder: Path, lesson: Lesson) -> Answers:
    """What the model in `folder` answers; raises `NotAModel`, `TeacherDiffers`."""
    card = read_card(folder)
    _check(card, lesson)
    predictor, task = load(folder), lesson.task

    def answers(frame: pl.DataFrame) -> list[Opinion]:
        found: list[Opinion] = []
        for answer in task.answers(predictor, task.inputs(frame)):
            scores = getattr(answer, "scores", {})
            known = answer.written is not None and scores
            # By name: the teacher's labels may stand in another order.
            row = tuple(float(scores[label]) for label in lesson.labels) if known else None
            found.append(Opinion(answer.written, answer.score, row))
        return found

    return answers


def _check(card: dict[str, Any], lesson: Lesson) -> None:
    theirs, ours = _shape(read_task(card)), _shape(lesson.task)
    if theirs != ours:
        raise TeacherDiffers(_("task"), [theirs], [ours])
    labels = [str(label) for label in card.get("labels", ())]
    if sorted(labels) != sorted(lesson.labels):
        raise TeacherDiffers(_("labels"), sorted(labels), sorted(lesson.labels))


def _shape(task: Task) -> str:
    """What must agree for one's answers to be the other's."""
    return f"{task.use} multiple" if getattr(task, "multiple", False) else task.use
