"""The models that a model is made of: trained, laid out in `members/`, and opened again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from feilun.core.i18n import _
from feilun.core.run import Run
from feilun.models.family import Estimate, Family, Lesson
from feilun.models.folder import NotAModel, load
from feilun.tasks.task import Scorer

MEMBERS = "members"


def able(members: Sequence[Family], lesson: Lesson) -> tuple[Family, ...]:
    """Those that can do the lesson's task here."""
    return tuple(m for m in members if lesson.task.use in m.tasks and not m.missing())


def estimated(
    members: Sequence[Family], lesson: Lesson, budget_seconds: float, run: Run
) -> tuple[tuple[Family, ...], float]:
    """The members with their choices made, and the seconds of all; each within what the ones
    before it leave of the budget."""
    resolved, seconds = [], 0.0
    for number, member in enumerate(members):
        left = max(budget_seconds - seconds, 0.0)
        found: Estimate = member.estimate(lesson, left, run.within(f"{number}-{member.use}"))
        resolved.append(found.family)
        seconds += found.seconds
    return tuple(resolved), seconds


def trained(members: Sequence[Family], lesson: Lesson, folder: Path, run: Run) -> list[str]:
    """The names of the members in `folder`; those that `lesson.trained` holds are copied, the
    others trained."""
    (folder / MEMBERS).mkdir()
    names = [f"{number}-{member.use}" for number, member in enumerate(members)]
    ready = {_written(family): path for family, path in lesson.trained}
    for name, member in zip(names, members, strict=True):
        target = folder / MEMBERS / name
        if (path := ready.get(_written(member))) is not None:
            shutil.copytree(path, target)
        else:
            target.mkdir()
            member.fit(lesson._replace(trained=()), target, run.within(name))
    return names


def opened(folder: Path, card: dict[str, Any]) -> tuple[list[str], list[Scorer]]:
    """The names of the members that the card lists, and the members; raises `NotAModel`."""
    names = card.get("members")
    if not isinstance(names, list) or not all(_is_name(name) for name in names):
        raise NotAModel(folder, _("its members are not a list of names"))
    return names, [cast(Scorer, load(folder / MEMBERS / name)) for name in names]


def _written(family: Family) -> str:
    return json.dumps(family.model_dump(mode="json"), sort_keys=True)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name.replace("-", "").replace("_", "").isalnum()
