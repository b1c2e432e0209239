"""Typer, speaking both languages: it has some words that it looks up in no catalogue."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from feilun.core.i18n import _


class Command(TyperCommand):
    """A command whose usage line and help option are in the reader's language."""

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def get_help_option(self, ctx: Any) -> Any:
        return _translated(super().get_help_option(ctx))


class Group(TyperGroup):
    """As `Command`, for a group."""

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def get_help_option(self, ctx: Any) -> Any:
        return _translated(super().get_help_option(ctx))


class App(typer.Typer):
    """A Typer whose commands and groups are those above."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=Group, **settings)

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """As Typer's."""
        return super().command(name, cls=Command, **settings)


def _usage(text: str) -> str:
    return text.replace("Usage: ", _("Usage: "), 1)


def _translated(option: Any) -> Any:
    if option is not None:
        option.help = _("Show this message and exit.")
    return option
