"""The names of a table's columns: every column has one, and no two the same."""

from __future__ import annotations

from collections.abc import Iterable

ROW = "_row"
"""The column with the number of the record in its file, from 1."""


def named_apart(names: Iterable[str]) -> list[str]:
    """The names, the second `text` as `text_2`, and one without a name by its place:
    `column_3`. So no column is lost, and the first keeps its name; `ROW` is ours."""
    given = list(names)
    taken, found = {ROW, *given}, set[str]()
    result = []
    for place, name in enumerate(given, start=1):
        base = name if name.strip() else f"column_{place}"
        unique, count = base, 1
        while unique in found or unique == ROW or (count > 1 and unique in taken):
            count += 1
            unique = f"{base}_{count}"
        found.add(unique)
        result.append(unique)
    return result
