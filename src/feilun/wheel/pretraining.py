"""An encoder pretrained once on the project's texts, for every later turn to build on."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from feilun.core.errors import Invalid, disk_error
from feilun.core.i18n import N_, _
from feilun.core.run import Run
from feilun.models import Lesson
from feilun.models.bert import Bert
from feilun.models.hub import Hub
from feilun.stages.train.plan import NotInstalled
from feilun.stages.train.stage import lesson_of
from feilun.store.disk import lock, sync_tree, write_file
from feilun.wheel.export import NotEmpty

if TYPE_CHECKING:
    from feilun.wheel.project import Project
    from feilun.wheel.runner import Observer


STAGE = N_("pretrain")


class BadBudget(Invalid):
    """The seconds that pretraining may take are none."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            _("Pretraining cannot take {seconds} seconds: more than 0 are needed.").format(
                seconds=seconds
            ),
            remedy="feilun pretrain --to FOLDER --budget-seconds 600",
        )


def pretrain(
    project: Project,
    folder: Path,
    budget_seconds: float | None = None,
    observer: Observer | None = None,
) -> Path:
    """Pretrains on the unlabelled and the training texts of the latest dataset, and writes the
    encoder into `folder`, whole or not at all; returns `folder`.

    What is pretrained, and how, says `[train] model` where it is `bert` or `hub`; else it is
    `bert` with its defaults. `budget_seconds` is the most that it may take where neither epochs
    nor steps are set; left out: `[train] budget_seconds`. A killed one is gone on with. Raises
    `NotEmpty`, `NotInstalled`, `NothingToPretrainOn`.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotEmpty(folder)
    train = project.settings.train
    seconds = train.budget_seconds if budget_seconds is None else budget_seconds
    if not seconds > 0:
        raise BadBudget(seconds)
    family = train.model if isinstance(train.model, Bert | Hub) else Bert()
    if family.missing():
        raise NotInstalled(family)
    _name, dataset = project.dataset()
    with lock(project.folder / "pretrain.lock", what=project.settings.project.name):
        run = project.scratch(STAGE, observer)
        if observer is not None:
            observer.stage_began(STAGE)
        lesson = lesson_of(dataset, run)
        chosen = _decided(family, lesson, seconds, dataset.digest, run)
        _write(chosen, lesson, folder, run)
        shutil.rmtree(run.folder, ignore_errors=True)
    return folder


def _write(chosen: Bert | Hub, lesson: Lesson, folder: Path, run: Run) -> None:
    """The folder, whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pretrain-") as name:
            part = Path(name) / "part"
            part.mkdir()
            chosen.pretrained(lesson, part, run)
            sync_tree(part)
            if folder.exists():
                folder.rmdir()
            part.replace(folder)
    except OSError as error:
        raise disk_error(error, folder) or error from error


def _decided(
    family: Bert | Hub, lesson: Lesson, seconds: float, dataset: str, run: Run
) -> Bert | Hub:
    """The family with its steps decided, measured once and written down: whoever goes on after
    a kill takes as many."""
    wanted = [family.model_dump(mode="json"), seconds, dataset, run.seed]
    mark = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    path = run.folder / "plan.json"
    if path.exists():
        planned = json.loads(path.read_bytes())
        if planned["for"] == mark:
            return type(family).model_validate(planned["family"])
    chosen = family.planned(lesson, seconds, run)
    content = {"for": mark, "family": chosen.model_dump(mode="json")}
    write_file(path, json.dumps(content, ensure_ascii=False).encode())
    return chosen
