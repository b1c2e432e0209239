"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feilun.core.i18n import _

if TYPE_CHECKING:
    from feilun.wheel.project import Project

ProjectFolder = Annotated[
    Path,
    typer.Option(
        "--project", "-C", help=_("The project's folder."), envvar="FEILUN_PROJECT", metavar="PATH"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help=_("Print JSON, for programs."))]
HERE = Path()


def open_project(folder: Path) -> Project:
    """The project in `folder`."""
    from feilun.wheel.project import Project

    return Project.open(folder)
