"""Feedback in files: from a spreadsheet into the wheel, and out of it."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from feilun.core.errors import Conflict, Invalid, Missing
from feilun.stages.collect import reading
from feilun.stages.collect.columns import ColumnMissing
from feilun.stages.collect.reading import ROW
from feilun.stages.collect.source import Quarantine
from feilun.store.events import FeedbackRow
from feilun.store.events.log import GROUP
from feilun.wheel.describe import reason_name
from feilun.wheel.predictions import feedback_row
from feilun.wheel.project import Project
from feilun.wheel.tables import chunks, unescaped, write_table

NEEDED = ("prediction_id", "kind", "value")


class Imported(NamedTuple):
    """How many rows are in, and the row number and reason of each that was refused."""

    added: int
    refused: list[tuple[int, str]]


def parse_value(kind: str, text: str) -> Any:
    """The value that a person typed: a rating's or an outcome's `true`, `false`, number or
    "text in quotes" as such, anything else as text."""
    if kind in {"rating", "outcome"}:
        try:
            value = json.loads(text)
        except ValueError:
            return text
        return value if isinstance(value, (bool, int, float, str)) else text
    return text


def value_text(kind: str, value: Any) -> str:
    """The text that `parse_value` takes for `value`: an outcome of "1" is not one of 1."""
    if isinstance(value, str) and parse_value(kind, value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def import_feedback(project: Project, path: Path) -> Imported:
    """Every row that fits; a row is named by its content, so a second import adds nothing.
    Rows that cannot be read are refused with the others. Reads any format of a source."""
    quarantine = Quarantine()
    added, refused = 0, []
    for table in chunks(path, quarantine):
        for column in NEEDED:
            if column not in table.columns:
                raise ColumnMissing(path, column, [n for n in table.columns if n != ROW])
        wanted = [name for name in (*NEEDED, "source") if name in table.columns]
        cells = table.select(wanted).cast(pl.String)
        if reading.form_of(path) in {"csv", "tsv"}:
            cells = unescaped(cells)
        rows = list(zip(table[ROW], cells.to_dicts(), strict=True))
        for start in range(0, len(rows), GROUP):
            done, not_done = _submitted(project, path, rows[start : start + GROUP])
            added += done
            refused += not_done
    refused += [(bad.row, reason_name(bad.reason)) for bad in quarantine.shown]
    return Imported(added, sorted(refused))


def _submitted(
    project: Project, path: Path, rows: list[tuple[int, dict[str, str | None]]]
) -> tuple[int, list[tuple[int, str]]]:
    """How many of the rows are in, and which were refused, why."""
    added, refused = 0, []
    # All of a group are under way before the first is waited for: they share commits.
    pending: list[tuple[int, Future[list[str]]]] = []
    for number, row in rows:
        try:
            pending.append((number, project.events.submit([_event(row, path)])))
        except Invalid as error:
            refused.append((number, error.message))
    for number, done in pending:
        try:
            done.result()
            added += 1
        except (Missing, Conflict) as error:
            refused.append((number, error.message))
    return added, refused


def _event(row: dict[str, str | None], path: Path) -> FeedbackRow:
    identity, kind, value = (row[name] or "" for name in NEEDED)
    source = row.get("source") or path.name
    content = json.dumps([identity, kind, value, source]).encode()
    event = feedback_row(identity, kind, parse_value(kind, value), source, "import")
    return event._replace(idempotency_key="import-" + hashlib.sha256(content).hexdigest())


def export_feedback(project: Project, path: Path) -> int:
    """How many rows were written: feedback joined to input (as people may see it), answer and
    model."""
    rows = project.privacy.shown(project.events.feedback_through(2**62))
    frame = pl.DataFrame(
        [
            {
                "prediction_id": row["prediction"],
                "kind": row["kind"],
                "value": value_text(row["kind"], row["value"]),
                "source": row["source"],
                "at": row["at"],
                "input": row["input"],
                "answer": row["label"],
                "score": row["score"],
                "model": row["model"],
            }
            for row in rows
        ],
        schema={
            **dict.fromkeys(("prediction_id", "kind", "value", "source"), pl.String()),
            "at": pl.Float64(),
            **dict.fromkeys(("input", "answer"), pl.String()),
            "score": pl.Float64(),
            "model": pl.String(),
        },
    )
    write_table(frame, path)
    return len(rows)
