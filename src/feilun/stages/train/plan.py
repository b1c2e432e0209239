"""The plan: which candidates are trained, with which settings, within the budget."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

from feilun.core.errors import Invalid
from feilun.core.i18n import N_, _
from feilun.core.message import Message
from feilun.core.run import Run
from feilun.models import Architecture, Family, Lesson
from feilun.store.disk import write_file


class NotInstalled(Invalid):
    """The model family needs packages that are not installed."""

    def __init__(self, family: Family) -> None:
        super().__init__(
            _("Training '{family}' needs {packages}, which are not installed here.").format(
                family=family.use, packages=", ".join(family.missing())
            ),
            remedy="pip install 'feilun[train]'",
        )


class NotForTask(Invalid):
    """The model family cannot do what the project asks."""

    def __init__(self, family: Family, task: str) -> None:
        super().__init__(
            _("'{family}' cannot do the task '{task}' of [project]; it does: {tasks}.").format(
                family=family.use, task=task, tasks=", ".join(family.tasks)
            ),
            remedy=_('Set [train] model = {{ architecture = "auto" }}.').format(),
        )


class Planned(NamedTuple):
    """One candidate with its choices made, its predicted seconds, or why it is left out."""

    family: Family
    seconds: float
    left_out: Message | None


def plan(model: Architecture, lesson: Lesson, budget_seconds: float, run: Run) -> list[Planned]:
    """The plan written down by a killed predecessor, or a new one, written down."""
    path = run.folder / "plan.json"
    if not path.exists():
        rows = [
            {
                "family": one.family.model_dump(mode="json"),
                "seconds": one.seconds,
                "left_out": one.left_out and one.left_out.model_dump(mode="json"),
            }
            for one in _measured(model, lesson, budget_seconds, run)
        ]
        write_file(path, json.dumps(rows, ensure_ascii=False).encode())
    return [
        Planned(
            _family_from(row["family"]),
            row["seconds"],
            row["left_out"] and Message.model_validate(row["left_out"]),
        )
        for row in json.loads(path.read_bytes())
    ]


def _measured(
    model: Architecture, lesson: Lesson, budget_seconds: float, run: Run
) -> list[Planned]:
    """Each candidate that can do the task; what does not fit is left out with the reason."""
    candidates = model.candidates()
    able = [family for family in candidates if lesson.task.use in family.tasks]
    if not able:
        raise NotForTask(candidates[0], lesson.task.use)
    installed = [family for family in able if not family.missing()]
    if not installed:
        raise NotInstalled(able[0])
    from feilun.models.stack import Stack

    measured = [
        at
        for at, one in enumerate(able)
        if one in installed and not (isinstance(one, Stack) and not one.members)
    ]
    found: dict[int, Planned] = {}
    left = Left(budget_seconds)
    # What begins with a pretrained encoder takes what it takes; the others fill what is left.
    for at in sorted(measured, key=lambda at: (at != measured[0], not able[at].from_encoder)):
        found[at] = _one(able[at], lesson, left, run, first=at == measured[0])
    planned: list[Planned] = []
    for at, family in enumerate(able):
        if family not in installed:
            template = N_("not tried: {packages} not installed (pip install 'feilun[train]')")
            values = {"packages": ", ".join(family.missing())}
            planned.append(Planned(family, 0.0, Message(template=template, values=values)))
        else:
            planned.append(found[at] if at in found else _stacked(family, planned))
    return planned


class Left:
    """What is left of a budget, in seconds, while the candidates are measured: that takes time
    too."""

    def __init__(self, budget_seconds: float) -> None:
        self._until = time.monotonic() + budget_seconds
        self._planned = 0.0
        self.too_dear = False
        """Whether a pretrained encoder was too slow: whatever else is done with it is slower."""

    @property
    def seconds(self) -> float:
        """Until the budget ends, without what is planned."""
        return self._until - time.monotonic() - self._planned

    def plan(self, seconds: float) -> None:
        """Takes the seconds that a candidate will need."""
        self._planned += seconds


def _one(family: Family, lesson: Lesson, left: Left, run: Run, *, first: bool) -> Planned:
    """One candidate; the first is always trained: a model late is worth more than none."""
    late = Message(template=N_("not tried: its training would not fit [train] budget_seconds"))
    if not first and (left.seconds <= 0 or (family.from_encoder and left.too_dear)):
        return Planned(family, 0.0, late)
    wanted = max(left.seconds, 0.0)
    estimate = family.estimate(lesson, wanted, run.within(f"estimate-{family.use}"))
    if first or estimate.seconds <= left.seconds:
        left.plan(estimate.seconds)
        return Planned(estimate.family, estimate.seconds, None)
    left.too_dear |= family.from_encoder
    return Planned(estimate.family, estimate.seconds, late)


def _stacked(family: Family, planned: list[Planned]) -> Planned:
    """A stack of the candidates before it, which will be there: it costs no training."""
    members = tuple(one.family for one in planned if one.left_out is None)
    if len(members) < 2:
        return Planned(family, 0.0, Message(template=N_("not tried: there is nothing to stack")))
    return Planned(family.model_copy(update={"members": members}), 0.0, None)


def _family_from(settings: dict[str, object]) -> Family:
    family = Architecture.model_validate(settings)
    assert isinstance(family, Family)
    return family
