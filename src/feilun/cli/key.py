"""`feilun key`: API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.errors import Invalid
from feilun.core.i18n import N_, _

if TYPE_CHECKING:
    from feilun.team import Key
    from feilun.wheel.usage import KeyUsage

SCOPES = ("predict", "feedback", "read", "chat", "erase")

Identity = Annotated[str, typer.Argument(help=_("The key's id, from feilun key list."))]
Expires = Annotated[
    str | None,
    typer.Option(
        help=_("When it ends: 90d, or a day (2027-01-31) with which it ends in UTC; else never."),
        metavar="TIME",
    ),
]
PerMinute = Annotated[
    int | None, typer.Option(min=0, help=_("Requests it may send a minute; 0: no limit."))
]
Burst = Annotated[
    int | None, typer.Option(min=0, help=_("Of them at once; 0: as many as --per-minute."))
]
Monthly = Annotated[
    int | None, typer.Option(min=0, help=_("Predictions in a month (UTC); 0: no limit."))
]
MonthlyCost = Annotated[
    float | None, typer.Option(min=0, help=_("What it may cost in a month (UTC); 0: no limit."))
]


class UnknownScope(Invalid):
    """`--scope` names no scope."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _("'{name}' is no scope; known: {known}.").format(name=name, known=", ".join(SCOPES)),
            remedy="feilun key add NAME --scope predict",
        )


class NothingToChange(Invalid):
    """`feilun key limit` was given no limit."""

    def __init__(self, identity: str) -> None:
        super().__init__(
            _("No limit was given for key {id}.").format(id=identity),
            remedy=f"feilun key limit {identity} --per-minute 600 --monthly 100000",
        )


def register(app: App) -> None:
    """Adds the group."""
    group = App(
        help=_("API keys: add, list, limit, rotate, revoke; what they used."), no_args_is_help=True
    )
    group.command("add", help=_("Make a key; it is shown once."))(add)
    group.command("list", help=_("List the keys."))(list_keys)
    group.command("limit", help=_("Change what a key may use."))(limit)
    group.command("rotate", help=_("Give a key a new secret; the old one works for a while."))(
        rotate
    )
    group.command("revoke", help=_("Make a key useless from now on."))(revoke)
    group.command("usage", help=_("Show who used how much."))(usage)
    app.add_typer(group, name="key")


def add(  # noqa: PLR0913, PLR0917  # each is an option of the command
    name: Annotated[str, typer.Argument(help=_("Who or what will use it."))],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=_("predict, feedback, read, chat or erase; else all but erase.")),
    ] = None,
    expires: Expires = None,
    per_minute: PerMinute = None,
    burst: Burst = None,
    monthly: Monthly = None,
    monthly_cost: MonthlyCost = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints the key: the only time it is seen."""
    from feilun.cli.output import print_json
    from feilun.cli.times import moment
    from feilun.team import EVERYDAY, Limits, Scope

    for wanted in scope or ():
        if wanted not in SCOPES:
            raise UnknownScope(wanted)
    expires_at = None if expires is None else moment(expires)
    limits = Limits(per_minute or None, burst or None, monthly or None, monthly_cost or None)
    with open_project(project) as opened:
        key = opened.keys.add(
            name,
            frozenset(map(Scope, scope)) if scope else EVERYDAY,
            expires_at=expires_at,
            limits=limits,
        )
    if as_json:
        print_json({"key": key, "name": name, "expires_at": expires_at})
    else:
        typer.echo(key)


def list_keys(project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Prints the keys without their secrets."""
    from feilun.cli.output import local_time, print_json, print_table
    from feilun.store.events.usage import last_uses

    with open_project(project) as opened:
        keys = opened.keys.all()
        with opened.events.database.read() as connection:
            uses = {key: _utc(at) for key, at in last_uses(connection).items()}
    if as_json:
        print_json([_shown(key, uses.get(key.id)) for key in keys])
        return
    print_table(
        ["id", _("name"), _("scopes"), _("limits"), _("made"), _("last used"), _("ends"),
         _("revoked")],
        [
            [
                key.id,
                key.name,
                " ".join(sorted(key.scopes)),
                _limits(key),
                *(
                    local_time(at) if at else ""
                    for at in (key.created_at, uses.get(key.id), key.expires_at, key.revoked_at)
                ),
            ]
            for key in keys
        ],
    )  # fmt: skip


def limit(
    identity: Identity,
    expires: Expires = None,
    per_minute: PerMinute = None,
    burst: Burst = None,
    monthly: Monthly = None,
    monthly_cost: MonthlyCost = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Changes the limits that are given; a running service holds to them within a second."""
    from feilun.cli.output import print_json
    from feilun.cli.times import moment

    given = {
        "per_minute": per_minute,
        "burst": burst,
        "monthly": monthly,
        "monthly_cost": monthly_cost,
    }
    changes = {name: value or None for name, value in given.items() if value is not None}
    expires_at = None if expires is None else moment(expires)
    if not changes and expires_at is None:
        raise NothingToChange(identity)
    with open_project(project) as opened:
        key = opened.keys.limit(identity, expires_at=expires_at, **changes)
    if as_json:
        print_json(_shown(key, None))
        return
    _done(_("Key {id} may use: {limits}").format(id=key.id, limits=_limits(key) or _("all")))


def rotate(
    identity: Identity,
    grace: Annotated[
        str, typer.Option(help=_("How long the old secret still works; 0s: no longer."))
    ] = "24h",
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints the key with its new secret: the only time it is seen."""
    from feilun.cli.output import print_json
    from feilun.cli.times import duration_seconds

    seconds = duration_seconds(grace)
    with open_project(project) as opened:
        key = opened.keys.rotate(identity, seconds)
    if as_json:
        print_json({"key": key, "grace_seconds": seconds})
    else:
        typer.echo(key)


def revoke(identity: Identity, project: ProjectFolder = HERE, as_json: AsJson = False) -> None:
    """Revokes it; a running service refuses it within a second."""
    from feilun.cli.output import print_json

    with open_project(project) as opened:
        key = opened.keys.revoke(identity)
    if as_json:
        print_json(_shown(key, None))
        return
    _done(_("Key {id} is revoked.").format(id=identity))


def usage(
    key: Annotated[str | None, typer.Option(help=_("The id of one key; else all."))] = None,
    since: Annotated[
        str | None,
        typer.Option(help=_("The first day, in UTC; else the first of this month."), metavar="DAY"),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """Prints what each key used; every figure was stored together with what it counts."""
    from feilun.cli.output import local_time, print_json, print_table
    from feilun.cli.times import day

    first = None if since is None else day(since)
    with open_project(project) as opened:
        found = opened.usage(first, key)
    if as_json:
        print_json([entry.shown() for entry in found])
        return
    print_table(
        ["id", _("name"), _("requests"), _("predictions"), _("characters"), _("tokens"), _("cost"),
         _("left this month"), _("last used")],
        [
            [
                entry.key,
                entry.name,
                f"{entry.requests:,}",
                f"{entry.predictions:,}",
                f"{entry.characters:,}",
                f"{entry.tokens:,}",
                f"{entry.cost:,.4g}",
                _left(entry),
                "" if entry.last_used is None else local_time(_utc(entry.last_used)),
            ]
            for entry in found
        ],
    )  # fmt: skip


_SAID = (
    ("per_minute", N_("{count:,} a minute")),
    ("burst", N_("{count:,} at once")),
    ("monthly", N_("{count:,} predictions a month")),
    ("monthly_cost", N_("a cost of {count:,.4g} a month")),
)


def _limits(key: Key) -> str:
    """The limits in words; empty where there are none."""
    given = ((getattr(key.limits, name), said) for name, said in _SAID)
    return ", ".join(_(said).format(count=count) for count, said in given if count is not None)


def _left(entry: KeyUsage) -> str:
    """What a key may still use this month; empty where there is no limit."""
    left = [] if entry.left is None else [f"{entry.left:,}"]
    if entry.cost_left is not None:
        left.append(_("to spend: {cost:,.4g}").format(cost=entry.cost_left))
    return ", ".join(left)


def _shown(key: Key, last_used: str | None) -> dict[str, object]:
    return {
        **key._asdict(),
        "scopes": sorted(key.scopes),
        "limits": key.limits._asdict(),
        "last_used": last_used,
    }


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _done(message: str) -> None:
    typer.secho("✓ ", fg="green", nl=False)
    typer.echo(message)
