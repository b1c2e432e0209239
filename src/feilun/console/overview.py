"""What the first page shows, gathered from the project; every text is in the reader's language."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

from feilun.console import wheel
from feilun.core.artifacts import Interval
from feilun.core.errors import shortened
from feilun.core.i18n import N_, _
from feilun.core.stage import STAGES
from feilun.stages.monitor import Level, Signal
from feilun.store.control import DONE, FAILED, OPEN, RUNNING, StepRow
from feilun.store.disk import is_locked
from feilun.wheel.describe import metric_name, stage_name
from feilun.wheel.project import Project, Release
from feilun.wheel.signals import recent
from feilun.wheel.turn import LIVE, MAKING, Turn

_KINDS = {
    "rating": N_("rating"),
    "correction": N_("correction"),
    "outcome": N_("outcome"),
    "comment": N_("comment"),
}
TURNS, FEEDBACK = 20, 8
GOOD, REUSED, WARN, BAD, WAITING = "good", "reused", "warn", "bad", "waiting"


class StageView(NamedTuple):
    """A stage of the wheel: its word, its state (`good`…) and one line on the last turn."""

    stage: str
    name: str
    state: str
    line: str
    segment: wheel.Segment


class TurnView(NamedTuple):
    """A row of the table of turns."""

    number: int
    at: str
    architecture: str
    figure: Interval | None
    bar: wheel.Bar | None
    other: str
    badge: str
    state: str
    reasons: list[str]
    seconds: float
    live: bool


class FeedbackView(NamedTuple):
    """What somebody said of a prediction."""

    at: str
    kind: str
    source: str
    input: str
    label: str | None
    value: str


class Overview(NamedTuple):
    """Everything on the first page."""

    name: str
    stages: list[StageView]
    turns: list[TurnView]
    metric: str
    other_metric: str
    scale: tuple[float, float]
    confidence: float
    live: Release | None
    live_since: str
    live_number: int
    live_turn: TurnView | None
    signals: list[Signal]
    hours: float
    feedback: list[FeedbackView]
    counts: dict[str, int]


def overview(project: Project) -> Overview:
    """The project as it stands now."""
    turns = project.turns(TURNS)
    release = project.release
    metric = project.settings.metric
    other = next(name for name in project.settings.project.task.metrics if name != metric)
    figures = [
        turn.report.metrics[metric]
        for turn in turns
        if turn.report and metric in turn.report.metrics
    ]
    ends = wheel.scale(figures)
    live_digest = release.model.digest if release else None
    running = is_locked(project.folder / "turn.lock")
    rows = [_turn(turn, metric, other, ends, live_digest, running) for turn in turns]
    # A model that a later turn met again belongs to the turn that made it live.
    rows = [row._replace(live=release is not None and row.number == release.turn) for row in rows]
    signals = recent(project)
    counts = project.events.counts()
    said = project.privacy.shown(project.events.latest_feedback(FEEDBACK))
    feedback = [_feedback(row) for row in said]
    newest = turns[0] if turns else None
    return Overview(
        project.settings.project.name,
        _stages(project, newest, release, signals, counts, feedback),
        rows,
        metric_name(metric),
        metric_name(other),
        ends,
        next((turn.report.confidence for turn in turns if turn.report), 0.95),
        release,
        moment(release.since) if release else "",
        project.stored(f"model/{LIVE}").number if release else 0,
        next((row for row in rows if row.live), None),
        signals,
        project.settings.monitor.window_hours,
        feedback,
        counts,
    )


def _turn(
    turn: Turn,
    metric: str,
    other: str,
    ends: tuple[float, float],
    live: str | None,
    running: bool,
) -> TurnView:
    figure = turn.report.metrics.get(metric) if turn.report else None
    second = turn.report.metrics.get(other) if turn.report else None
    badge, state = _badge(turn, live, running)
    reasons = [str(reason) for reason in turn.verdict.reasons] if turn.verdict else []
    return TurnView(
        turn.number,
        moment(turn.started_at),
        turn.model.architecture if turn.model else "",
        figure,
        wheel.bar(figure, ends) if figure else None,
        f"{second.value:.3f}" if second else "",
        badge,
        state,
        [turn.error] if turn.error else reasons,
        turn.seconds,
        False,
    )


def _badge(turn: Turn, live: str | None, running: bool) -> tuple[str, str]:
    if turn.status == DONE and turn.verdict is not None:
        if turn.verdict.released:
            return _("released"), GOOD
        if turn.model is not None and turn.model.digest == live:
            return _("unchanged"), REUSED
        return _("refused"), WARN
    return {
        RUNNING: (_("running"), REUSED) if running else (_("interrupted"), WARN),
        OPEN: (_("open"), WAITING),
        FAILED: (_("failed"), BAD),
    }.get(turn.status, (turn.status, WAITING))


def _stages(
    project: Project,
    turn: Turn | None,
    release: Release | None,
    signals: list[Signal],
    counts: dict[str, int],
    feedback: list[FeedbackView],
) -> list[StageView]:
    steps = {step.stage: step for step in turn.steps} if turn else {}
    lines: dict[str, tuple[str, str]] = {}
    for stage in MAKING:
        step = steps.get(stage)
        if turn is None or step is None:
            failed = turn is not None and turn.status == FAILED and stage == _next(steps)
            lines[stage] = (BAD, _("failed")) if failed else (WAITING, _("not yet"))
        else:
            lines[stage] = _made(project, turn, step)
    loud = sum(signal.level is Level.WARNING for signal in signals)
    lines["serve"] = (
        (GOOD, _("{count:,} predictions so far").format(count=counts["predictions"]))
        if release
        else (WAITING, _("no model is live yet"))
    )
    lines["monitor"] = (
        (WARN, _("{count} warning(s)").format(count=loud)) if loud else (GOOD, _("all quiet"))
    )
    if not counts["predictions"]:
        lines["monitor"] = (WAITING, _("nothing to watch yet"))
    lines["feedback"] = (
        (GOOD, _("{count:,} received; newest {at}").format(
            count=counts["feedback"], at=feedback[0].at
        ))
        if feedback
        else (WAITING, _("none yet"))
    )  # fmt: skip
    drawn = wheel.segments(len(STAGES))
    return [
        StageView(stage, stage_name(stage), *lines[stage], segment)
        for stage, segment in zip(STAGES, drawn, strict=True)
    ]


def _next(steps: dict[str, StepRow]) -> str:
    return next((stage for stage in MAKING if stage not in steps), "")


def _made(project: Project, turn: Turn, step: StepRow) -> tuple[str, str]:
    """The state and the line of a stage that the turn has finished."""
    state = REUSED if step.reused else GOOD
    line = _("done")
    if step.stage == "collect" and turn.records:
        line = _("{rows:,} records from {count} source(s)").format(
            rows=turn.records.num_rows, count=len(turn.records.sources)
        )
    elif step.stage == "prepare" and turn.dataset:
        line = _("{kept:,} kept, {dropped:,} dropped").format(
            kept=sum(turn.dataset.splits.values()), dropped=sum(turn.dataset.dropped.values())
        )
    elif step.stage == "train" and turn.model:
        line = _("{architecture}, {seconds:.1f} s").format(
            architecture=turn.model.architecture, seconds=step.cost.seconds
        )
    elif (
        step.stage == "evaluate"
        and turn.report
        and (metric := project.settings.metric) in turn.report.metrics
    ):
        line = _("{metric} {value:.3f} on {count:,} records").format(
            metric=metric_name(metric),
            value=turn.report.metrics[metric].value,
            count=turn.report.num_test,
        )
    elif step.stage == "release" and turn.verdict:
        if turn.verdict.released:
            return GOOD, _("released")
        return WARN, shortened(turn.verdict.reasons[0], 60)
    if step.reused:
        line = _("{line} (unchanged)").format(line=line)
    return state, line


def _feedback(row: dict[str, Any]) -> FeedbackView:
    value = row["value"]
    if isinstance(value, bool):
        shown = _("yes") if value else _("no")
    else:
        shown = f"{value:g}" if isinstance(value, float) else str(value)
    return FeedbackView(
        moment(datetime.fromtimestamp(row["at"], UTC).isoformat()),
        _(_KINDS.get(row["kind"], row["kind"])),
        shortened(row["source"], 40),
        shortened(row["input"], 90),
        row["label"],
        shortened(shown, 60),
    )


def moment(at: str) -> str:
    """`2026-11-22 01:15`, UTC."""
    return at[:16].replace("T", " ")
