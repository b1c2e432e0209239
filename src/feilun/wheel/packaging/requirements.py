"""What a serving process needs of Python, pinned to what is installed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, entry_points
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from feilun.core.part import GROUP

OURS = "feilun"


def pinned(parts: Iterable[str] = ()) -> dict[str, str]:
    """Name → version of every distribution that the base of Feilun needs here, and of those that
    bring a part called one of `parts`, with all they need; sorted, without Feilun.

    No extra of Feilun is in it. What another system would need besides is not known here.
    """
    wanted = set(parts)
    roots = {
        point.dist.name
        for point in entry_points(group=GROUP)
        if point.dist and point.name.partition(".")[2] in wanted
    }
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(name, "") for name in {OURS, *roots}]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue
        found[canonicalize_name(name)] = installed.version
        waiting += _needed(installed, extra)
    found.pop(OURS)
    return dict(sorted(found.items()))


def _needed(installed: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    """What it needs under that extra ("": without one), as pairs of name and extra."""
    for line in installed.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            name = canonicalize_name(requirement.name)
            yield name, ""
            yield from ((name, wanted) for wanted in requirement.extras)


def parts_in(settings: Any) -> Iterator[str]:
    """Every name that a part is chosen by in settings as they are written down."""
    if isinstance(settings, dict):
        for name, value in settings.items():
            if name in {"use", "architecture"} and isinstance(value, str):
                yield value
            else:
                yield from parts_in(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from parts_in(value)
