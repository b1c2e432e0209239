"""How projects and turns look in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from feilun.wheel.describe import turn_columns


def turns_html(rows: Iterable[Sequence[str]], metric: str, title: str = "", note: str = "") -> str:
    """A table with a line for each turn (`Turn.row`), below a title and a note if any."""
    head = _cells("th", turn_columns(metric))
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    above = f"<h3>{escape(title)}</h3>" if title else ""
    above += f"<p>{escape(note)}</p>" if note else ""
    return f"{above}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cells(tag: str, cells: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells)
