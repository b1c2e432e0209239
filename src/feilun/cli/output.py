"""How answers look in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from feilun.core.i18n import _

if TYPE_CHECKING:
    from rich.console import Console


def console(*, err: bool = False) -> Console:
    """A console as wide as the terminal; where there is none, as wide as the text needs."""
    from rich.console import Console

    made = Console(stderr=err, highlight=False)
    if not made.is_terminal:
        made.width = 10_000
    return made


def print_json(value: Any) -> None:
    """`value` as indented JSON, non-ASCII as it is."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_written(count: int, path: Path, *, as_json: bool) -> None:
    """How many rows went into which file."""
    if as_json:
        print_json({"rows": count, "path": str(path)})
    else:
        typer.echo(_("rows written to {path}: {count:,}").format(count=count, path=path))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A plain table, columns aligned (a Chinese character is two columns wide)."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # Text, not markup: what users wrote may hold square brackets.
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def local_time(utc: str) -> str:
    """An ISO time in UTC as local time, to the minute."""
    from datetime import datetime

    return datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M")
