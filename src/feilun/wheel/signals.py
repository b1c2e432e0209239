"""What `monitor` is asked, and what it says."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from feilun.stages.monitor import Signal, Window

if TYPE_CHECKING:
    from feilun.wheel.project import Project


def signals(project: Project, hours: float | None = None) -> list[Signal]:
    """See `Project.signals`."""
    stage = project.settings.monitor
    until = time.time()
    since = until - 3600 * (hours if hours is not None else stage.window_hours)
    release = project.release
    shares: dict[str, float] = {}
    if release is not None:
        counts = project.dataset_of(release.model).balance.get("train", {})
        shares = {label: count / sum(counts.values()) for label, count in counts.items()}
    usage = project.events.usage(since)
    labels: Counter[str] = Counter()
    for written, count in usage.labels.items():
        labels.update(dict.fromkeys(project.settings.project.task.counted(written), count))
    window = Window(since, until, usage._replace(labels=dict(labels)), shares)
    return stage.run(window, project.scratch("monitor"))
