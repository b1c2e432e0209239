"""What `monitor` is asked, and what it says.

What measures references is imported where it is needed: it takes 50 ms, which the serving process
has not before its first answer.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from feilun.core.artifacts import Model
from feilun.stages.monitor import Said, Sample, Signal, Window
from feilun.store.events import samples
from feilun.tasks import Task

if TYPE_CHECKING:
    from feilun.wheel.project import Project, Release

RECENT_SECONDS = 30.0
_BEFORE_SECONDS = 30 * 86_400
"""How far back feedback is compared with, most."""


def signals(project: Project, hours: float | None = None) -> list[Signal]:
    """See `Project.signals`."""
    return project.settings.monitor.run(window(project, hours), project.scratch("monitor"))


def recent(project: Project, *, wait: bool = False) -> list[Signal]:
    """The signals of the default window, at most `RECENT_SECONDS` old; for pages, which do not
    `wait`, a few minutes (see `apart`)."""
    from feilun.wheel import apart

    live = project.control.alias("live")
    digest = live.digest if live is not None else None
    kept: dict[str | None, apart.Kept[list[Signal]]] = project.__dict__.setdefault("_recent", {})
    if digest not in kept:
        kept.clear()
        kept[digest] = apart.Kept(lambda: apart.signals(project))
    return kept[digest].get(RECENT_SECONDS, wait=wait)


def window(project: Project, hours: float | None = None) -> Window:
    """What happened in the last hours, as far as the detectors look at it: counts of everything,
    and a sample of the predictions."""
    stage, task = project.settings.monitor, project.settings.project.task
    until = time.time()
    since = until - 3600 * (hours if hours is not None else stage.window_hours)
    usage = project.events.usage(since)
    labels: Counter[str] = Counter()
    for written, count in usage.labels.items():
        labels.update(dict.fromkeys(task.counted(written), count))
    seen = Window(since, until, usage._replace(labels=dict(labels)), {})
    release = project.release
    if release is None:
        return seen
    counts = project.dataset_of(release.model).balance.get("train", {})
    shares = {label: count / sum(counts.values()) for label, count in counts.items()}
    seen = seen._replace(training_shares=shares, cost=samples.costs(project.events, since, until))
    if not usage.predictions:
        return seen
    from feilun.wheel.references import reference

    now, before = _feedback(project, release, since, until)
    drawn = samples.drawn(project.events, since, until, stage.sample, project.settings.project.seed)
    return seen._replace(
        sample=_sample(project, release.model, drawn),
        reference=reference(project, release.model),
        feedback=now,
        before=before,
    )


def _feedback(project: Project, release: Release, since: float, until: float) -> tuple[Said, Said]:
    began = datetime.fromisoformat(release.since).timestamp()
    first = max(min(began, since), since - _BEFORE_SECONDS)
    spans = [(since, until), (first, since)]
    now, before = samples.opinions(project.events, release.model.digest, spans)
    return Said(*now), Said(*before)


def _sample(project: Project, model: Model, drawn: samples.Drawn) -> Sample:
    """Each input once: of a text that comes a hundred times, training has one."""
    from feilun.wheel.references import spoken

    task = project.settings.project.task
    rows = {row["input"] if row["kept"] != "removed" else row["id"]: row for row in drawn.rows}
    readable = {id: input_text(task, row) for id, row in rows.items() if readable_row(row)}
    texts = _as_trained(project, model, list(readable.values()))
    lengths = [row["characters"] or len(readable.get(id, "")) for id, row in rows.items()]
    ours = [row for row in rows.values() if row["model"] == model.digest]
    if any(row["level"] for row in rows.values()):
        ours = []
    answers = [row["label"] for row in ours]
    labels = [[] if one is None else task.counted(one) for one in answers] if model.labels else []
    return Sample(
        texts,
        spoken(texts),
        [length for length in lengths if length],
        answers,
        labels,
        [row["score"] for row in ours],
        len(rows) - len(readable),
        len(drawn.rows),
        drawn.total,
    )


def _as_trained(project: Project, model: Model, texts: list[str]) -> list[str]:
    """Masked, where training texts are; what the log has masked already stays as it is."""
    from feilun.wheel.references import masks

    if not masks(project.dataset_of(model)) or project.settings.serve.log.keep == "masked":
        return texts
    return project.privacy.masked(texts)


def readable_row(row: dict[str, Any]) -> bool:
    """Whether the row's `input` is a text, not a hash of one or nothing."""
    return row["kept"] in {"full", "masked", "vault"}


def input_text(task: Task, row: dict[str, Any]) -> str:
    """The input as training texts are compared: of a pair both texts, a line each."""
    from feilun.wheel.references import plain

    written = str(row["input"])
    if task.use != "match":
        return written
    try:
        given = json.loads(written)
    except ValueError:
        return written
    return plain((str(given[0]), str(given[1]))) if isinstance(given, list) else written
