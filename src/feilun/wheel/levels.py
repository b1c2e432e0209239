"""A cascade's levels: on the test, and among what people asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from feilun.core.artifacts import Interval, Model, Report
from feilun.core.refs import Ref
from feilun.models.folder import read_card
from feilun.stages.evaluate.levels import (
    ERROR,
    EXCESS,
    LAST,
    RECORDS,
    SECONDS,
    SHARE,
)
from feilun.stages.serve import ENDPOINT, PERSON
from feilun.store.control import StoredArtifact

if TYPE_CHECKING:
    from feilun.wheel.project import Project

FAMILY = "cascade"
_SERVED = sa.text(
    "SELECT p.level AS level, count(*) AS number, sum(p.cost) AS cost,"
    " avg(p.latency_ms) AS latency_ms,"
    " sum(f.value IS NOT NULL) AS checked, sum(f.value IS NOT NULL AND f.value = p.label) AS kept"
    " FROM predictions p LEFT JOIN (SELECT prediction, json_extract(value, '$') AS value, max(seq)"
    " FROM feedback WHERE kind = 'correction' GROUP BY prediction) f ON f.prediction = p.id"
    " WHERE p.route = 'cascade' AND p.model = :model AND p.at >= :since"
    " GROUP BY p.level ORDER BY p.level"
)


class Tested(NamedTuple):
    """One level on the test: its share of the records, its share of errors among them (None:
    it answered nothing), and what one of them took, in milliseconds."""

    name: str
    share: Interval
    error: Interval | None
    ms: float | None


class Test(NamedTuple):
    """A cascade on the test: its levels, by how much it errs more than its last one alone, and
    what a record takes by the cascade and by the last one alone, in milliseconds."""

    levels: list[Tested]
    excess: Interval
    ms: float | None
    last_ms: float | None


class Served(NamedTuple):
    """One level among what people asked: how many it answered, their share, cost and mean
    latency; `checked` of them got a correction, and `wrong` of those another answer."""

    name: str
    number: int
    share: float
    cost: float
    latency_ms: float
    checked: int
    wrong: int


def tested(project: Project, model: Model) -> Test | None:
    """The newest report's figures; None where there is none, or the model is no cascade."""
    stored = _report(project, model)
    if stored is None or model.architecture != FAMILY:
        return None
    report, spent = stored.artifact, stored.cost.spent
    assert isinstance(report, Report)
    if EXCESS not in report.metrics:
        return None
    names = names_of(project, model)
    found = [
        Tested(
            name,
            report.metrics[SHARE + name],
            report.metrics.get(ERROR + name),
            _ms(spent, [name]),
        )
        for name in names
        if SHARE + name in report.metrics
    ]
    return Test(found, report.metrics[EXCESS], _ms(spent, names), _ms(spent, [LAST]))


def served(project: Project, model: Model, hours: float) -> list[Served]:
    """Every level that answered in the last hours, the cheapest first."""
    if model.architecture != FAMILY:
        return []
    names = [*names_of(project, model), ENDPOINT, PERSON]
    values = {"model": model.digest, "since": time.time() - 3600 * hours}
    with project.events.database.read() as connection:
        rows = connection.execute(_SERVED, values).all()
    total = sum(row.number for row in rows)
    return [
        Served(
            names[row.level] if row.level < len(names) else str(row.level),
            row.number,
            row.number / total,
            row.cost,
            row.latency_ms,
            row.checked,
            row.checked - row.kept,
        )
        for row in rows
    ]


def names_of(project: Project, model: Model) -> list[str]:
    """The names of the cascade's members."""
    return list(read_card(project.blobs_of(model)).get("members", ()))


def _report(project: Project, model: Model) -> StoredArtifact | None:
    for stored in project.control.artifacts("report"):
        if isinstance(stored.artifact, Report) and stored.artifact.model == model.digest:
            return project.control.get(Ref("report", stored.artifact.digest))
    return None


def _ms(spent: dict[str, float], names: Sequence[str]) -> float | None:
    seconds = sum(spent.get(name + SECONDS, 0.0) for name in names)
    records = sum(spent.get(name + RECORDS, 0.0) for name in names)
    return 1000 * seconds / records if records else None
