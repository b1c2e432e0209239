"""The shadow: a model that is asked beside the live one, and how the two compare."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from feilun.core.artifacts import Model
from feilun.core.errors import Conflict, Invalid
from feilun.core.i18n import N_, _
from feilun.core.message import Message
from feilun.core.refs import Ref
from feilun.team import user_name
from feilun.wheel.turn import LIVE

if TYPE_CHECKING:
    from feilun.wheel.project import Project

SHADOW = "shadow"
"""The alias; it is not there while no model is in the shadow."""
ROUTE = "shadow"
_SUFFIX = ".shadow"
Z = 1.96
_FIGURES = sa.text(
    "SELECT s.model AS shadow, p.model AS live, count(*) AS number,"
    " sum(s.label IS p.label) AS agreed, avg(s.latency_ms) AS shadow_ms,"
    " avg(s.score) AS shadow_score, avg(p.score) AS live_score"
    " FROM predictions s JOIN predictions p ON p.id = substr(s.id, 1, length(s.id) - :suffix)"
    " WHERE s.route = :route AND s.at >= :since AND s.model = :model"
    " GROUP BY s.model, p.model ORDER BY number DESC"
)


class NotAShadow(Invalid):
    """Only a model can stand in the shadow, and one of the task that is served."""

    def __init__(self, ref: str, reason: str) -> None:
        super().__init__(
            _("{ref} cannot answer in the shadow: {reason}.").format(ref=ref, reason=reason),
            remedy="feilun release --shadow model/latest",
        )


class AlreadyLive(Conflict):
    """The model answers already."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            _("{ref} is live: beside itself it would show nothing.").format(ref=ref),
            remedy="feilun turn",
        )


class Compared(NamedTuple):
    """What the shadow answered beside one live model: on how many inputs, the share of the same
    answers with the ends of its 95 % Wilson interval, the shadow's mean time for a request, and
    both models' mean score."""

    shadow: str
    live: str
    number: int
    agreement: float
    low: float
    high: float
    shadow_ms: float
    shadow_score: float
    live_score: float


def identity(prediction: str) -> str:
    """The id of the shadow's row beside the prediction with that id."""
    return prediction + _SUFFIX


def shadow(project: Project) -> Model | None:
    """The model in the shadow; None: there is none."""
    row = project.control.alias(SHADOW)
    return project.model(Ref("model", row.digest)) if row is not None else None


def put(project: Project, ref: str, *, by: str | None = None) -> Model:
    """Puts the model that `ref` names in the shadow; a running service follows within seconds.
    Raises `NotAShadow`, `AlreadyLive`."""
    found = project.get(ref)
    if not isinstance(found, Model):
        raise NotAShadow(ref, _("it is a {kind}").format(kind=found.kind))
    if found.task != project.settings.project.task.named():
        raise NotAShadow(ref, _("it was trained for another task"))
    live = project.control.alias(LIVE)
    if live is not None and live.digest == found.digest:
        raise AlreadyLive(ref)
    project.blobs_of(found)
    before = project.control.alias(SHADOW)
    project.control.move_alias(
        SHADOW,
        found.digest,
        expected=before.digest if before else None,
        by=by or user_name(),
        reason=Message(template=N_("put in the shadow by hand")).model_dump_json(),
    )
    return found


def take(project: Project) -> None:
    """Leaves nobody in the shadow."""
    project.control.drop_alias(SHADOW)


def compared(project: Project, hours: float) -> list[Compared]:
    """How the model in the shadow compares with each that was live in the last hours, the one
    with most inputs first; nothing where none is in the shadow."""
    model = shadow(project)
    if model is None:
        return []
    values = {
        "suffix": len(_SUFFIX),
        "route": ROUTE,
        "since": time.time() - 3600 * hours,
        "model": model.digest,
    }
    with project.events.database.read() as connection:
        rows = connection.execute(_FIGURES, values).all()
    return [_compared(row) for row in rows]


def told(one: Compared) -> str:
    """The figures as one sentence."""
    return _(
        "shadow {shadow}: the same answer as {live} to {agreement:.1%} [{low:.1%}, {high:.1%}] "
        "of {number:,} inputs, {ms:.1f} ms a request"
    ).format(
        shadow=one.shadow.removeprefix("sha256:")[:12],
        live=one.live.removeprefix("sha256:")[:12],
        agreement=one.agreement,
        low=one.low,
        high=one.high,
        number=one.number,
        ms=one.shadow_ms,
    )


def _compared(row: sa.Row[tuple[object, ...]]) -> Compared:
    from feilun.stages.monitor.label_shares import wilson

    values = row._mapping
    number, agreed = int(values["number"]), int(values["agreed"])
    low, high = wilson(agreed, number, Z)
    return Compared(
        values["shadow"],
        values["live"],
        number,
        agreed / number,
        low,
        high,
        float(values["shadow_ms"]),
        float(values["shadow_score"]),
        float(values["live_score"]),
    )
