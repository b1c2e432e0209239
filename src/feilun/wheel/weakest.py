"""The weakest slices of the last days, by what people said and by confidence."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from feilun.core.errors import shortened
from feilun.stages.monitor.slices import Row, Slice, by_source, terms, weakest
from feilun.store.events import samples
from feilun.wheel.signals import input_text, readable_row

if TYPE_CHECKING:
    from feilun.tasks import Task
    from feilun.wheel.project import Project

DAYS = 7.0
JUDGED = 5000
"""Ratings and corrections that are looked at, the newest."""
SAMPLED = 2000
"""Answers that they are compared with."""
RECENT_SECONDS = 300.0
MOST = 10
FALSE_SHARE = 0.05
"""Of the slices found, in expectation; the others are no chance."""
UNSURE = 0.1
"""The share of answers that count as unsure: those with the lowest scores."""
_TEXT = 160


class Shown(NamedTuple):
    """A slice, and texts in it as people may see them."""

    slice: Slice
    examples: tuple[str, ...]


class Weakest(NamedTuple):
    """The weakest slices. Of `answers` given since `since` (seconds since 1970), `judged` were
    judged by people, and `wrong` of these are wrong (corrected to something else, or rated below
    a half).
    `by_feedback` are slices with more wrong answers than the rest, `by_confidence` those with
    more unsure ones. Of `looked_at` answers drawn at random, `unreadable` have no text to read.
    """

    since: float
    answers: int
    judged: int
    wrong: int
    looked_at: int
    unreadable: int
    by_feedback: list[Shown]
    by_confidence: list[Shown]

    def summary(self) -> dict[str, Any]:
        """Everything as JSON values."""
        slices = {
            name: [
                {**one.slice._asdict(), "examples": list(one.examples), "ids": one.slice.examples}
                for one in getattr(self, name)
            ]
            for name in ("by_feedback", "by_confidence")
        }
        return {**self._asdict(), **slices}


def recent_weakest(project: Project, *, wait: bool = False) -> Weakest:
    """The weakest slices of the last `DAYS`, at most `RECENT_SECONDS` old; for pages, which do not
    `wait`, somewhat more (see `apart`)."""
    from feilun.wheel import apart

    kept: apart.Kept[Weakest] | None = project.__dict__.get("_weakest")
    if kept is None:
        kept = apart.Kept(lambda: apart.weakest(project, DAYS))
        project.__dict__["_weakest"] = kept
    return kept.get(RECENT_SECONDS, wait=wait)


def find_weakest(project: Project, days: float = DAYS) -> Weakest:
    """See `Project.weakest`."""
    until = time.time()
    since, task = until - 86_400 * days, project.settings.project.task
    seed = project.settings.project.seed
    judged = samples.judged(project.events, since, until, JUDGED)
    drawn = samples.drawn(project.events, since, until, SAMPLED, seed)
    # What is shown, terms too, must not hold personal data: masked before anything is counted.
    said = {row["id"]: row for row in reversed(judged)}
    known = {row["id"]: row for row in [*drawn.rows, *said.values()]}
    texts = _texts(project, task, list(known.values()))
    rows = {row.id: row for row in _rows(task, list(known.values()), texts)}
    wrong = {row["id"] for row in judged if _wrong(row)}
    cases = [rows[id] for id in said if id in wrong]
    others = [rows[row["id"]] for row in drawn.rows if row["id"] not in wrong]
    sources = [rows[row["id"]]._replace(source=row["source"], wrong=_wrong(row)) for row in judged]
    by_feedback = weakest(cases, others, drawn.total, most=MOST, false_share=FALSE_SHARE)
    by_feedback += by_source(sources, most=MOST, false_share=FALSE_SHARE)
    by_confidence = _unsure([rows[row["id"]] for row in drawn.rows])

    def shown(found: list[Slice]) -> list[Shown]:
        return [
            Shown(one, tuple(shortened(texts[id], _TEXT) for id in one.examples if id in texts))
            for one in found
        ]

    return Weakest(
        since,
        drawn.total,
        len(said),
        len(wrong),
        len(drawn.rows),
        sum(not readable_row(row) for row in drawn.rows),
        shown(by_feedback),
        shown(by_confidence),
    )


def _unsure(rows: list[Row]) -> list[Slice]:
    answered = [row for row in rows if row.labels]
    if not answered:
        return []
    line = float(np.quantile([row.score for row in answered], UNSURE))
    cases = [row for row in answered if row.score < line]
    others = [row for row in answered if row.score >= line]
    # A sample stands for all: so do its unsure answers.
    return weakest(cases, others, len(answered), most=MOST, false_share=FALSE_SHARE)


def _wrong(row: dict[str, Any]) -> bool:
    value = json.loads(row["value"])
    if row["said"] == "correction":
        return str(value).strip() != (row["label"] or "")
    return isinstance(value, int | float) and value < 0.5


def _texts(project: Project, task: Task, rows: list[dict[str, Any]]) -> dict[str, str]:
    """The texts that can be read, by id, masked as people may see them."""
    readable = [row for row in rows if readable_row(row)]
    shown = project.privacy.shown([{**row, "kind": ""} for row in readable])
    return {row["id"]: input_text(task, row) for row in shown}


def _rows(task: Task, rows: list[dict[str, Any]], texts: dict[str, str]) -> list[Row]:
    from feilun.wheel.references import spoken

    written = list(texts.values())
    languages = dict(zip(texts, spoken(written), strict=True))
    return [
        Row(
            row["id"],
            task.counted(row["label"]) if row["label"] is not None else (),
            row["key"],
            row["characters"] or len(texts.get(row["id"], "")),
            row["score"],
            languages.get(row["id"]),
            terms(texts[row["id"]]) if row["id"] in texts else frozenset(),
        )
        for row in rows
    ]
