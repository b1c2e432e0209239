"""Predictions for a file of any size: read, answered and written piece by piece.

While one piece is computed the next is read and the one before is written, so that the model
waits for neither; memory holds a few pieces, whatever the size of the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from feilun.models import Predictor
from feilun.stages.collect.source import Quarantine
from feilun.tasks import Answer, Classify, Task, task_named
from feilun.tasks.classify import why_unanswered
from feilun.tasks.task import Input
from feilun.wheel.predictions import NothingLive, predict
from feilun.wheel.project import Project
from feilun.wheel.tables import TableWriter, pairs, texts

T = TypeVar("T")
_ANSWERS = {
    "label": pl.String,
    "score": pl.Float64,
    "scores": pl.String,
    "reason": pl.String,
    "id": pl.String,
}
# Whatever has one of these has something to judge by; the others are looked at one by one.
_PLAINLY_CONTENT = r"[0-9A-Za-z\u4e00-\u9fff]"


def predict_file(
    project: Project,
    source: Path,
    out: Path,
    *,
    columns: Mapping[str, str | None],
    quarantine: Quarantine,
    log: bool = False,
    progress: Callable[[int], object] = lambda _rows: None,
) -> int:
    """How many rows were written to `out` (.csv, .jsonl or .parquet): the inputs in `source`
    with `label`, `score`, `scores` (JSON), `reason` and, with `log`, the `id` that feedback
    refers to. `columns` may name the columns of `text`, or of `first` and `second`; `progress`
    is called with the rows so far. `out` appears whole or not at all.

    Raises `NothingLive` and what reading and writing tables raise.
    """
    release = project.release
    if release is None:
        raise NothingLive()
    predictor = project.predictor(release.model)
    task = task_named(release.model.task)
    if task.use == "match":
        named = {side: name for side in ("first", "second") if (name := columns.get(side))}
        read: Iterable[Sequence[Input]] = pairs(source, named, quarantine)
    else:
        read = texts(source, columns.get("text"), quarantine)

    rows = 0
    with (
        TableWriter(out) as target,
        ThreadPoolExecutor(1) as reading,
        ThreadPoolExecutor(1) as writing,
    ):
        written = None
        for inputs in _ahead(read, reading):
            if log:
                found = predict(project, inputs, log=True)
                answers, ids = [one.answer for one in found], [one.id for one in found]
                table: Callable[[], pl.DataFrame] = partial(answers_table, answers, ids)
            else:
                table = computed(task, predictor, inputs)
            if written is not None:
                written.result()
            written = writing.submit(_write, target, inputs, table)
            rows += len(inputs)
            progress(rows)
        if written is not None:
            written.result()
        else:
            target.write(beside([], answers_table([], [])))
    return rows


def _write(target: TableWriter, inputs: Sequence[Input], made: Callable[[], pl.DataFrame]) -> None:
    target.write(beside(inputs, made()))


def answers_of(task: Task, model: Predictor, inputs: Sequence[Input]) -> pl.DataFrame:
    """The columns `label`, `score`, `scores`, `reason` and `id` (null) for some inputs: what
    `task.answers` says of them, for `classify` without an object per answer."""
    return computed(task, model, inputs)()


def computed(task: Task, model: Any, inputs: Sequence[Input]) -> Callable[[], pl.DataFrame]:
    """What makes `answers_of` of what the model said: the model is not asked any more."""
    if isinstance(task, Classify) and not task.multiple and len(inputs):
        scores = np.asarray(model.scores(inputs), dtype=np.float32)
        return partial(_classified, scores, list(model.labels), inputs)
    return partial(answers_table, task.answers(model, inputs), [""] * len(inputs))


def answers_table(answers: Sequence[Answer], ids: Sequence[str]) -> pl.DataFrame:
    """As `answers_of`, from answers of any task."""
    return pl.DataFrame(
        {
            "label": [answer.written for answer in answers],
            "score": [float(answer.score) for answer in answers],
            "scores": [_json(getattr(answer, "scores", {})) for answer in answers],
            "reason": [answer.reason for answer in answers],
            "id": [identity or None for identity in ids],
        },
        schema=_ANSWERS,
    )


def _classified(scores: np.ndarray, labels: Sequence[str], inputs: Sequence[Input]) -> pl.DataFrame:
    best = scores.argmax(axis=1)
    shown = pl.DataFrame(
        {label: scores[:, at] for at, label in enumerate(labels)},
    ).with_columns(pl.all().cast(pl.Float64))
    frame = pl.DataFrame(
        {
            "label": pl.Series(labels, dtype=pl.String).gather(best),
            "score": scores[np.arange(len(scores)), best].astype(np.float64),
            "scores": shown.select(pl.struct(pl.all()).struct.json_encode()).to_series(),
        }
    ).with_columns(reason=pl.lit(None, pl.String), id=pl.lit(None, pl.String))
    odd = np.flatnonzero(
        np.isnan(scores[:, 0])
        | ~pl.Series(inputs, dtype=pl.String).str.contains(_PLAINLY_CONTENT).to_numpy()
    )
    if not len(odd):
        return frame
    reasons: list[str | None] = [None] * len(inputs)
    for at in odd.tolist():
        reasons[at] = why_unanswered((str(inputs[at]),), scores[at, :1].tolist())
    even = _json(dict.fromkeys(labels, 1.0 / max(len(labels), 1)))
    none = pl.col("reason").is_not_null()
    return frame.with_columns(reason=pl.Series(reasons, dtype=pl.String)).with_columns(
        label=pl.when(none).then(None).otherwise("label"),
        score=pl.when(none).then(0.0).otherwise("score"),
        scores=pl.when(none).then(pl.lit(even)).otherwise("scores"),
    )


def beside(inputs: Sequence[Input], answers: pl.DataFrame) -> pl.DataFrame:
    """The inputs, under their columns' names, and their answers."""
    if inputs and not isinstance(inputs[0], str):
        first, second = zip(*inputs, strict=True)
        sides = pl.DataFrame({"first": first, "second": second}, schema_overrides=_SIDES)
    else:
        sides = pl.DataFrame({"text": inputs}, schema={"text": pl.String})
    return sides.hstack(answers)


_SIDES = {"first": pl.String, "second": pl.String}


def _ahead(items: Iterable[T], reading: ThreadPoolExecutor) -> Iterator[T]:
    """The items, each fetched while the one before is at work."""
    source, end = iter(items), object()
    coming = reading.submit(next, source, end)
    while (item := coming.result()) is not end:
        coming = reading.submit(next, source, end)
        yield item  # type: ignore[misc]


def _json(scores: Mapping[str, float]) -> str:
    return json.dumps(scores, ensure_ascii=False, separators=(",", ":"))
