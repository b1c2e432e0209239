"""`feilun client`: a client of the API in another language, as source code."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import AsJson
from feilun.core.i18n import _


class Language(StrEnum):
    """A language that a client can be written in."""

    TYPESCRIPT = "typescript"


def register(app: App) -> None:
    """Adds the command."""
    app.command("client", help=_("Write a client of the API, as source code."))(client)


def client(
    out: Annotated[Path, typer.Argument(help=_("The folder to write into."), metavar="OUT")],
    language: Annotated[
        Language, typer.Option(help=_("The client's language."))
    ] = Language.TYPESCRIPT,
    as_json: AsJson = False,
) -> None:
    """A file per line. What is there under the same name is replaced."""
    from feilun.cli.output import print_json
    from feilun.service import typescript

    written = [str(path) for path in typescript.write(out)]
    if as_json:
        print_json({"language": language.value, "files": written})
    else:
        typer.echo("\n".join(written))
