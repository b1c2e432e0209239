"""What training logged: losses and scores by step, of what runs now and of models made here.

While a stage runs its figures are in its scratch folder; when its model is kept, they go to
`.feilun/curves/`. They are for people: no artifact depends on them, and they may be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from feilun.core.artifacts import Model
from feilun.store.disk import is_locked, write_file

if TYPE_CHECKING:
    import polars as pl

LOG = "metrics.jsonl"
FOLDER = "curves"


class Curves(NamedTuple):
    """Figures (`part`, `metric`, `step`, `value`), in the order in which they came; whether
    more may come."""

    figures: pl.DataFrame
    running: bool


def curves(state: Path, model: Model | None) -> Curves:
    """The figures of the training that runs now in the project's folder `state`; while none
    does, of `model`."""
    work = sorted((state / "work").glob("train-*"), key=_age)
    # What a killed turn left lies there too, until it is gone on with.
    if work and is_locked(state / "turn.lock") and (found := _gathered(work[-1])).height:
        return Curves(found, True)
    path = state / FOLDER / f"{model.short}.jsonl" if model is not None else None
    if path is None or not path.exists():
        return Curves(_frame([]), False)
    return Curves(_frame(_lines(path)), False)


def keep(folder: Path, model: Model, state: Path) -> None:
    """Keeps what was logged in the scratch folder of the training that made `model`."""
    rows = _gathered(folder).rows(named=True)
    if rows:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (state / FOLDER).mkdir(exist_ok=True)
        write_file(state / FOLDER / f"{model.short}.jsonl", text.encode())


def _age(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _gathered(folder: Path) -> pl.DataFrame:
    """Of each candidate its own figures, named by its folder."""
    rows = []
    for path in sorted(folder.rglob(LOG)):
        part = path.parent.relative_to(folder).as_posix()
        if not part.startswith("estimate-"):
            rows += [{**row, "part": part} for row in _lines(path)]
    return _frame(rows)


def _frame(rows: object) -> pl.DataFrame:
    import polars as pl

    schema = {"part": pl.String, "metric": pl.String, "step": pl.Int64, "value": pl.Float64}
    return pl.DataFrame(list(rows), schema=schema)  # type: ignore[call-overload]  # rows


def _lines(path: Path) -> Iterator[dict[str, object]]:
    """The lines that are whole: one may be in the writing, or torn by a kill."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("value"), int | float):
            yield row
