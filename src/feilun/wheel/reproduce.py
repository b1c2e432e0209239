"""Make an artifact again from what it was made of, and compare byte for byte."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, cast

from feilun.core.artifacts import Artifact, Dataset, Model, Records
from feilun.core.errors import Conflict, Invalid
from feilun.core.i18n import _
from feilun.core.part import Part
from feilun.core.refs import Ref
from feilun.core.stage import Stage
from feilun.stages.collect import Collect, CollectGiven
from feilun.stages.evaluate import Evaluate, EvaluateGiven
from feilun.stages.feedback import Feedback, FeedbackGiven
from feilun.stages.prepare import Prepare, PrepareGiven
from feilun.stages.train import Train, TrainGiven
from feilun.store import Blobs
from feilun.store.control import StoredArtifact
from feilun.tasks import task_named
from feilun.version import code_version
from feilun.wheel.erasing_files import erased_of
from feilun.wheel.project import Project
from feilun.wheel.runner import LocalRun, Observer

_STAGES: dict[str, type[Part]] = {
    stage.use: stage for stage in (Feedback, Collect, Prepare, Train, Evaluate)
}


class NotMadeHere(Invalid):
    """The artifact was put in from outside, so there is nothing to repeat."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            _("{ref} was imported, not made by a stage: it cannot be made again.").format(ref=ref),
            remedy="feilun status",
        )


class RowsErased(Conflict):
    """The artifact, or what it was made of, has lost rows to an erasure."""

    def __init__(self, ref: str, receipt: str) -> None:
        super().__init__(
            _(
                "{ref} cannot be made again: rows of it, or of what it was made of, were erased "
                "({receipt})."
            ).format(ref=ref, receipt=receipt),
            remedy="feilun turn",
        )


class Reproduction(NamedTuple):
    """Each file's digest then and now (None: not there), and whether the code has changed."""

    ref: str
    files: dict[str, tuple[str | None, str | None]]
    same_code: bool
    inputs_changed: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every byte is equal."""
        return all(then == now for then, now in self.files.values())


def reproduce(project: Project, ref: str, observer: Observer | None = None) -> Reproduction:
    """Repeats the stage that made `ref` with its settings, inputs and seed of then; what is
    made is compared and thrown away."""
    stored = project.stored(ref)
    if stored.stage not in _STAGES:
        raise NotMadeHere(ref)
    stage = cast(
        Stage[Any, Artifact], _STAGES[stored.stage].model_validate(stored.artifact.made_by)
    )
    given = _given(project, stored)
    for artifact in (stored.artifact, *_artifacts(given)):
        erased = erased_of(project, artifact)
        if erased:
            raise RowsErased(ref, erased[0])
    with tempfile.TemporaryDirectory(dir=project.folder) as scratch:
        run = LocalRun(
            stage.use,
            seed=int(stored.inputs["seed"]),
            root=project.root,
            folder=Path(scratch) / "work",
            blobs=project.blobs,
            keep_in=Blobs(Path(scratch) / "blobs"),
            observer=observer,
        )
        again = stage.run(given, run)
    inputs = stage.inputs(given, project.root)
    then, now = stored.artifact.files, again.files
    return Reproduction(
        f"{stored.artifact.kind}/{stored.number}",
        {name: (then.get(name), now.get(name)) for name in sorted({*then, *now})},
        stored.code == code_version(),
        tuple(role for role, digest in inputs.items() if stored.inputs.get(role) != digest),
    )


def _artifacts(given: Any) -> list[Artifact]:
    return [value for value in given if isinstance(value, Artifact)]


def _given(project: Project, stored: StoredArtifact) -> Any:
    inputs = stored.inputs

    def get(kind: str, role: str) -> Any:
        return project.control.get(Ref(kind, inputs[role])).artifact if role in inputs else None

    if stored.stage == Feedback.use:
        said = project.events.feedback_through(int(inputs["feedback_through"]))
        rows = project.privacy.learnt(said)
        task = task_named(json.loads(inputs["task"]) if "task" in inputs else "")
        return FeedbackGiven(rows, tuple(inputs["labels"].split("\x00")), task)
    if stored.stage == Collect.use:
        turns = [role for role in inputs.values() if role.startswith("turn ")]
        return CollectGiven(
            cast(Records | None, get("records", "feedback")),
            cast(Records | None, get("records", "previous")),
            int(turns[0].removeprefix("turn ")) if turns else 1,
            stored.code == code_version(),
        )
    if stored.stage == Prepare.use:
        return PrepareGiven(
            get("records", "records"),
            tuple(inputs.get("frozen_test", "").split()),
            get("model", "live"),
            task_named(cast(Dataset, stored.artifact).task),
        )
    if stored.stage == Train.use:
        return TrainGiven(get("dataset", "dataset"), get("model", "teacher"))
    live = cast(Model | None, get("model", "live"))
    return EvaluateGiven(get("model", "model"), get("dataset", "dataset"), live)
