"""`feilun key`: API keys."""

from __future__ import annotations

from typing import Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.errors import Invalid
from feilun.core.i18n import _

SCOPES = ("predict", "feedback", "read")


class UnknownScope(Invalid):
    """`--scope` names no scope."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _("'{name}' is no scope; known: {known}.").format(name=name, known=", ".join(SCOPES)),
            remedy="feilun key add NAME --scope predict",
        )


def register(app: App) -> None:
    """Adds the group."""
    group = App(help=_("API keys: add, list, revoke."), no_args_is_help=True)
    group.command("add", help=_("Make a key; it is shown once."))(add)
    group.command("list", help=_("List the keys."))(list_keys)
    group.command("revoke", help=_("Make a key useless from now on."))(revoke)
    app.add_typer(group, name="key")


def add(
    name: Annotated[str, typer.Argument(help=_("Who or what will use it."))],
    scope: Annotated[
        list[str] | None, typer.Option(help=_("predict, feedback or read; else all."))
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints the key: the only time it is seen."""
    from feilun.cli.output import print_json
    from feilun.team import Scope

    for wanted in scope or ():
        if wanted not in SCOPES:
            raise UnknownScope(wanted)
    with open_project(project) as opened:
        key = opened.keys.add(name, frozenset(map(Scope, scope or SCOPES)))
    if as_json:
        print_json({"key": key, "name": name})
    else:
        typer.echo(key)


def list_keys(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints the keys without their secrets."""
    from feilun.cli.output import local_time, print_json, print_table

    with open_project(project) as opened:
        keys = opened.keys.all()
    if as_json:
        print_json([{**key._asdict(), "scopes": sorted(key.scopes)} for key in keys])
        return
    print_table(
        ["id", _("name"), _("scopes"), _("made"), _("revoked")],
        [
            [
                key.id,
                key.name,
                " ".join(sorted(key.scopes)),
                local_time(key.created_at),
                local_time(key.revoked_at) if key.revoked_at else "",
            ]
            for key in keys
        ],
    )


def revoke(
    identity: Annotated[str, typer.Argument(help=_("The key's id, from feilun key list."))],
    project: ProjectFolder = HERE,
) -> None:
    """Revokes it; a running service refuses it from its next request on."""
    with open_project(project) as opened:
        opened.keys.revoke(identity)
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(_("Key {id} is revoked.").format(id=identity))
