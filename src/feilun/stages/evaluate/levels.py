"""What each level of a cascade answers on the test, how often it errs, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feilun.core.artifacts import Interval
from feilun.core.run import Run
from feilun.models.levels import Levelled, Ready, Routed
from feilun.tasks import Answer, Task
from feilun.tasks.bootstrap import interval, sums
from feilun.tasks.task import Input

EXCESS = "excess_error"
SHARE, ERROR = "share.", "error."
SECONDS, RECORDS = ".seconds", ".records"
"""Of a level, or of the last level alone, in the report's cost."""
LAST = "last_alone"


def answered(
    model: Levelled, task: Task, inputs: Sequence[Input], run: Run
) -> tuple[list[Answer], Routed]:
    """The cascade's answers and who gave them; what each level took is in the cost."""
    routed = model.routed(inputs)
    for level, name in enumerate(model.names):
        mine = routed.levels == level
        run.spend(float(routed.seconds[mine].sum()), name + SECONDS)
        run.spend(float(mine.sum()), name + RECORDS)
    return task.answers(Ready(model.labels, routed.scores), inputs), routed


def measured(
    names: Sequence[str],
    levels: np.ndarray,
    right: np.ndarray,
    last_right: np.ndarray,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """`share.NAME` of each level among the records, `error.NAME` among those that it answered,
    and `excess_error`, by how much the cascade's share of errors is above that of its last level
    alone on the same records; each with its bootstrap interval. `levels` int64, `right` and
    `last_right` bool, all `[records]`. A level that answered nothing has no error."""
    depth = len(names)
    mine = levels[:, None] == np.arange(depth)[None, :]
    wrong = mine & ~right[:, None]
    apart = last_right.astype(np.float64) - right
    rows = np.concatenate([mine, wrong, apart[:, None]], axis=1).astype(np.float64)
    found = sums(rows, np.ones(len(rows), dtype=np.int64), seed)
    result = {}
    for level, name in enumerate(names):
        result[SHARE + name] = interval(found[:, level] / len(rows), confidence)
        if found[0, level]:
            # A resample without any record of the level tells nothing of its errors.
            drawn = found[found[:, level] > 0]
            result[ERROR + name] = interval(drawn[:, depth + level] / drawn[:, level], confidence)
    result[EXCESS] = interval(found[:, -1] / len(rows), confidence)
    return result
