"""Spans: the entities of a text, as they are written down and checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from feilun.core.errors import shortened
from feilun.core.i18n import _

Span = tuple[int, int, str]
"""`text[start:end]`, in code points, and its label."""


def ordered(spans: Iterable[Mapping[str, Any]]) -> list[Span]:
    """The spans of a record (column `spans`) by their start."""
    found = [(one["start"], one["end"], one["label"]) for one in spans]
    # Nulls are told by `fault`; they only must not keep the others from being sorted.
    return sorted(found, key=lambda s: tuple(-1 if at is None else at for at in s[:2]))


def fault(spans: Sequence[Span], length: int) -> tuple[Span, str] | None:
    """The first span (of those by their start) that is none in a text of `length` code points,
    with what is wrong with it; None when all are good."""
    before: Span | None = None
    for span in spans:
        start, end, label = span
        if start is None or end is None or not label:
            return span, _("it needs a start, an end and a label")
        if start >= end:
            return span, _("its end must be above its start")
        if start < 0 or end > length:
            return span, _("the text has {length} characters").format(length=length)
        if before is not None and start < before[1]:
            return span, _("it overlaps {other}").format(other=shown(before))
        before = span
    return None


def shown(span: Span) -> str:
    """The span in a message: `[0, 2, PER]`."""
    start, end, label = span
    return shortened(f"[{start}, {end}, {label}]")


def written(spans: Iterable[Span]) -> str:
    """Compact JSON, by their start: `[[0,2,"PER"],[5,7,"LOC"]]`."""
    return json.dumps(sorted(spans), ensure_ascii=False, separators=(",", ":"))


def read(text: str) -> list[Span]:
    """The spans that `written` wrote, by their start; raises ValueError where it is something
    else."""
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(text) from error
    if not isinstance(found, list) or not all(map(_is_span, found)):
        raise ValueError(text)
    return sorted((start, end, label) for start, end, label in found)


def _is_span(one: Any) -> bool:
    if not isinstance(one, list) or len(one) != 3:
        return False
    start, end, label = one
    return type(start) is int and type(end) is int and isinstance(label, str)
