"""What more labels of one kind would bring: a learning curve for each label."""

from __future__ import annotations

import math
from collections.abc import Sequence

from feilun.models import Lesson
from feilun.stages.train.advise.curve import fitted
from feilun.stages.train.advise.probe import Probe
from feilun.tasks import Classify, Tag
from feilun.wheel.advise.advice import LabelNeed

SHARE, FEWEST, MOST = 0.05, 20, 1_000
"""So many labels more, as a share of the records; at least and at most."""
TIMES = 3
"""A label's curve is not trusted beyond this many times its records more."""
LEAST_GAIN = 0.001


def needs(lesson: Lesson, metric: str, probes: Sequence[Probe]) -> tuple[LabelNeed, ...]:
    """What equally many labels more of each label would bring, the most useful first. None for
    tasks whose answers are no labels, and for metrics of which a label has no part."""
    task = lesson.task
    if not isinstance(task, Classify | Tag) or len(lesson.labels) < 2:
        return ()
    weight = _weights(lesson, metric)
    have = task.labels(lesson.train)
    wanted = _nice(min(max(SHARE * lesson.train.height, FEWEST), MOST))
    found = []
    for label, counted in weight.items():
        seen = [p for p in probes if p.counts.get(label) and label in p.per_label]
        if not seen or not have[label]:
            continue
        more = min(wanted, _nice(TIMES * have[label]))
        part = 0 if metric == "accuracy" else 1
        errors = [1 - p.per_label[label][part] for p in seen]
        spreads = [_spread(error, lesson, label) for error in errors]
        curve = fitted([p.counts[label] for p in seen], errors, spreads)
        gain = counted * curve.fall(have[label], have[label] + more).error
        if gain >= LEAST_GAIN:
            recall = seen[-1].per_label[label][0]
            found.append(LabelNeed(label, have[label], more, gain, recall))
    return tuple(sorted(found, key=lambda one: (-one.gain, one.label)))


def _weights(lesson: Lesson, metric: str) -> dict[str, float]:
    """How much the metric rises with a label's own recall (`accuracy`) or F1 (the others)."""
    counts = lesson.task.labels(lesson.validation)
    if metric == "macro_f1":
        return {label: 1 / len(lesson.labels) for label in lesson.labels}
    total = max(counts.total(), 1)
    return {label: counts[label] / total for label in lesson.labels if counts[label]}


def _spread(error: float, lesson: Lesson, label: str) -> float:
    """The sampling error of a label's recall on its validation records."""
    count = max(lesson.task.labels(lesson.validation)[label], 1)
    inner = min(max(error, 1 / (count + 2)), 1 - 1 / (count + 2))
    return math.sqrt(inner * (1 - inner) / count)


def _nice(count: float) -> int:
    """10, 20, 50, 100, 200, 500 …: the next above."""
    scale = int(10 ** int(math.log10(max(count, 1))))
    return next((step * scale for step in (1, 2, 5, 10) if step * scale >= count), 10 * scale)
