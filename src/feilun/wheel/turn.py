"""A turn: one revolution, collect → release."""

from __future__ import annotations

from typing import Any, NamedTuple

from feilun.core.artifacts import Dataset, Model, Records, Report, Verdict
from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.core.refs import Ref
from feilun.core.stage import STAGES
from feilun.stages.collect import CollectGiven
from feilun.stages.evaluate import EvaluateGiven
from feilun.stages.feedback import FeedbackGiven
from feilun.stages.prepare import PrepareGiven
from feilun.stages.release import GateGiven
from feilun.stages.train import TrainGiven
from feilun.stages.train.teachers.local import NoTeacher
from feilun.store import Blobs
from feilun.store.control import DONE, FAILED, OPEN, ArtifactNotFound, StepRow
from feilun.store.disk import lock
from feilun.team import user_name
from feilun.version import code_version
from feilun.wheel.describe import figure, reasons_text, status_name, verdict_word
from feilun.wheel.notebook import turns_html
from feilun.wheel.runner import Observer, Runner, Silent
from feilun.wheel.withdrawn import withdrawn
from feilun.wheel.workspace import Workspace

LIVE = "live"
MAKING = STAGES[: STAGES.index("release") + 1]
"""The stages of one turn; the other three go on between turns."""


class Turn(NamedTuple):
    """One revolution as it ended: its steps, report and verdict; `metric` is what must gain."""

    number: int
    status: str
    started_at: str
    steps: tuple[StepRow, ...]
    records: Records | None
    dataset: Dataset | None
    model: Model | None
    report: Report | None
    verdict: Verdict | None
    error: str | None
    metric: str = "accuracy"

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of its stages; what was reused cost nothing."""
        return sum(step.cost.seconds for step in self.steps)

    def summary(self) -> dict[str, Any]:
        """The turn as JSON values, for programs."""
        return {
            "turn": self.number,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "stages": {
                step.stage: {
                    "artifact": step.artifact,
                    "reused": step.reused,
                    "seconds": step.cost.seconds,
                }
                for step in self.steps
            },
            "architecture": self.model.architecture if self.model else None,
            "metrics": {
                name: {"value": figure.value, "low": figure.low, "high": figure.high}
                for name, figure in (self.report.metrics.items() if self.report else ())
            },
            "released": self.verdict.released if self.verdict else None,
            "reasons": [str(reason) for reason in self.verdict.reasons] if self.verdict else [],
            "gain": self.verdict.gain.model_dump() if self.verdict and self.verdict.gain else None,
            "error": self.error,
        }

    def row(self) -> tuple[str, ...]:
        """The turn in one line: number, architecture, figure, released, reason, seconds."""
        verdict = self.verdict
        found = self.report.metrics.get(self.metric) if self.report else None
        return (
            str(self.number),
            self.model.architecture if self.model else "",
            figure(found) if found else "",
            status_name(self.status) if verdict is None else verdict_word(verdict),
            reasons_text(verdict) if verdict else self.error or "",
            f"{self.seconds:.1f}",
        )

    def _repr_html_(self) -> str:
        return turns_html([self.row()], self.metric)


def revolve(workspace: Workspace, until: str, observer: Observer | None = None) -> Turn:
    """Makes a turn, or goes on with the unfinished one, up to and including `until`."""
    with lock(workspace.folder / "turn.lock", what=workspace.settings.project.name):
        row = workspace.control.begin_turn(until, workspace.events.newest())
        revolution = _Revolution(workspace, row.number, row.events_through, observer or Silent())
        try:
            verdict = revolution.go(until)
        except FeilunError as error:
            workspace.control.end_turn(row.number, FAILED, error=error.message)
            raise
        workspace.control.forget_steps(row.number, MAKING[MAKING.index(until) + 1 :])
        workspace.control.end_turn(
            row.number,
            DONE if verdict else OPEN,
            verdict=verdict.model_dump_json() if verdict else None,
        )
    return read_turn(workspace, row.number)


class _Revolution:
    """The path of one turn through the stages."""

    def __init__(
        self, workspace: Workspace, number: int, events_through: int, observer: Observer
    ) -> None:
        self.workspace = workspace
        self.number = number
        self.events_through = events_through
        self.runner = Runner(
            workspace.control,
            workspace.blobs,
            workspace.root,
            workspace.folder / "work",
            workspace.settings.project.seed,
            observer,
            workspace.settings.economics.co2_grams_per_kwh,
        )
        before = workspace.control.alias_before(LIVE, number)
        self.live = workspace.model(Ref("model", before.digest)) if before else None

    def go(self, until: str) -> Verdict | None:
        """The gate's verdict, or None when the turn was asked to stop before it."""
        settings, make = self.workspace.settings, self.runner.make
        # Before anything is collected: without its teacher the turn could not go on.
        teacher = None if until in {"collect", "prepare"} else self._teacher()
        # What users said since the last turn comes first: it is what makes this a wheel.
        rows = self._feedback()
        feedback = None
        if rows and self.live is not None:
            given = FeedbackGiven(rows, self.live.labels, settings.project.task)
            feedback = make(settings.feedback, given, self.number)
        records = make(
            settings.collect,
            CollectGiven(feedback, *self._collected_before()),
            self.number,
        )
        if until == "collect":
            return None
        dataset = make(
            settings.prepare,
            PrepareGiven(records, self._frozen(), self.live, settings.project.task),
            self.number,
        )
        if until == "prepare":
            return None
        model = make(settings.train, TrainGiven(dataset, teacher), self.number)
        if until == "train":
            return None
        evaluated = EvaluateGiven(model, dataset, self.live)
        report = make(settings.evaluate, evaluated, self.number)
        if until == "evaluate":
            return None
        judged = GateGiven(report, dataset, self._withdrawn(model))
        verdict = self.runner.judge(settings.release, judged, self.number)
        if verdict.released:
            self.workspace.control.move_alias(
                LIVE,
                model.digest,
                expected=self.live.digest if self.live else None,
                by=user_name(),
                reason=verdict.reasons[0].model_dump_json(),
                turn=self.number,
            )
        return verdict

    def _withdrawn(self, model: Model) -> bool:
        """Whether the model was live and was rolled back: a turn that finds nothing new makes the
        same one again, of another dataset perhaps."""
        gone = withdrawn(self.workspace.control.history(LIVE))
        return any(
            self.workspace.model(Ref("model", digest)).files == model.files for digest in gone
        )

    def _feedback(self) -> list[dict[str, Any]]:
        """What users said, as far as the log still has the texts that it is about."""
        said = self.workspace.events.feedback_through(self.events_through)
        rows = self.workspace.privacy.learnt(said)
        if len(rows) < len(said):
            self.runner.say(
                "feedback",
                _(
                    "{count:,} feedback cannot be learnt from: the log has no text of what it is "
                    "about ([serve.log] keep)."
                ).format(count=len(said) - len(rows)),
            )
        return rows

    def _teacher(self) -> Model | None:
        """The model of this project that teaches, as it was when the turn began; None where none
        does. Raises `NoTeacher`."""
        distil = self.workspace.settings.train.distil
        named = distil.teacher.reference() if distil else None
        if named is None:
            return None
        ref = Ref.parse(named)
        if ref.name == LIVE:
            if self.live is None:
                raise NoTeacher(named)
            return self.live
        try:
            return self.workspace.model(ref)
        except ArtifactNotFound:
            raise NoTeacher(named) from None

    def _frozen(self) -> tuple[str, ...]:
        """The test that the live model faced: until something is live, nothing is frozen."""
        if self.live is None:
            return ()
        shards = self.workspace.dataset_of(self.live).shards("test")
        return tuple(d for d in map(self.workspace.blobs.current, shards) if d is not None)

    def _collected_before(self) -> tuple[Records | None, int, bool]:
        """What the last turn that collected had; this turn; whether this very code read it."""
        for number in range(self.number - 1, 0, -1):
            for step in self.workspace.control.steps(number):
                if step.stage == "collect" and step.artifact:
                    stored = self.workspace.control.get(Ref("records", step.artifact))
                    assert isinstance(stored.artifact, Records)
                    return (
                        without_erased(self.workspace.blobs, stored.artifact),
                        self.number,
                        stored.code == code_version(),
                    )
        return None, self.number, True


def without_erased(blobs: Blobs, records: Records) -> Records:
    """The records with what erasures left of their files."""
    named = {file for piece in records.pieces for file in (*piece.files, *piece.dropped)}
    now = {file: blobs.current(file) for file in named | set(records.files.values())}
    if all(file == left for file, left in now.items()):
        return records
    pieces = tuple(
        piece.model_copy(
            update={
                "files": tuple(left for f in piece.files if (left := now[f]) is not None),
                "dropped": tuple(left for f in piece.dropped if (left := now[f]) is not None),
            }
        )
        for piece in records.pieces
    )
    files = {name: left for name, f in records.files.items() if (left := now[f]) is not None}
    return records.model_copy(update={"pieces": pieces, "files": files})


def read_turn(workspace: Workspace, number: int) -> Turn:
    """The turn as it stands in the store."""
    row = workspace.control.turn(number)
    steps = tuple(workspace.control.steps(number))
    made = {step.stage: step.artifact for step in steps if step.artifact}

    def artifact(stage: str, kind: str) -> Any:
        digest = made.get(stage)
        return workspace.control.get(Ref(kind, digest)).artifact if digest else None

    return Turn(
        number,
        row.status,
        row.started_at,
        steps,
        artifact("collect", "records"),
        artifact("prepare", "dataset"),
        artifact("train", "model"),
        artifact("evaluate", "report"),
        Verdict.model_validate(row.verdict) if row.verdict else None,
        row.error,
        workspace.settings.metric,
    )
