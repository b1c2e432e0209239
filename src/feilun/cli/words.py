"""Typer's own words, so that our catalogues hold them too.

`feilun.cli.main` makes ours the gettext domain in which Typer (and, in its older versions,
Click) looks its words up; what is listed here is extracted with our own messages. A word that a
version does not look up is shown in English by that version.
"""

from __future__ import annotations

from feilun.core.i18n import N_

WORDS = (
    # typer/rich_utils.py
    N_("(deprecated) "),
    N_("[default: {}]"),
    N_("[env var: {}]"),
    N_("[required]"),
    N_("Arguments"),
    N_("Options"),
    N_("Commands"),
    N_("Error"),
    N_("Aborted."),
    N_("Try [blue]'{command_path} {help_option}'[/] for help."),
    # typer/core.py
    N_("(dynamic)"),
    N_("Aborted!"),
    N_("default: {default}"),
    N_("env var: {var}"),
    N_("required"),
    N_("Missing command."),
    N_("No such command {name!r}."),
)
