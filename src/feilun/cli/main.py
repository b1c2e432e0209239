"""`feilun`: where every command is hung up, and every error is told.

A command's module imports what it needs inside its function: `feilun --help` must not wait for
tables, databases or models it will not touch.
"""

from __future__ import annotations

import gettext
import os
import sys
from typing import Any

import typer

from feilun.cli.app import App
from feilun.core.errors import FeilunError, disk_error
from feilun.core.i18n import LOCALE_FOLDER, _, language

STOPPED = 130
"""The exit code after Ctrl-C, as shells have it."""


def _speak_typer() -> None:
    """Typer takes its own words («Usage», «Options») from the default gettext domain; ours has
    them too. It reads them when it is first imported for help, so this comes first."""
    gettext.bindtextdomain("feilun", str(LOCALE_FOLDER))
    gettext.textdomain("feilun")
    os.environ["LANGUAGE"] = {"en": "en", "zh": "zh_CN"}[language()]


_speak_typer()

from feilun.cli import (  # noqa: E402
    advise,
    alert,
    client,
    collect,
    demo,
    diff,
    doctor,
    erase,
    erasures,
    evaluate,
    export,
    feedback,
    history,
    key,
    log,
    monitor,
    new,
    notify,
    package,
    predict,
    prepare,
    pretrain,
    release,
    reproduce,
    rollback,
    serve,
    show,
    status,
    train,
    tune,
    turn,
)

app = App(
    name="feilun",
    help=_("From the records a team has to a model it owns, and round again."),
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
for module in (
    new,
    turn,
    collect,
    prepare,
    pretrain,
    advise,
    train,
    tune,
    evaluate,
    release,
    status,
    show,
    export,
    package,
    diff,
    history,
    predict,
    serve,
    client,
    monitor,
    alert,
    notify,
    feedback,
    rollback,
    reproduce,
    key,
    log,
    erase,
    erasures,
    doctor,
    demo,
):
    module.register(app)


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help=_("Show the version and exit.")),
) -> None:
    if version:
        from feilun.version import __version__

        typer.echo(f"feilun {__version__}")
        raise typer.Exit


def run() -> None:
    """The entry point: exits 0, or with the error's code after telling what, limit and mend."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """The exit code of `feilun ARGUMENTS`."""
    try:
        result = app(arguments, prog_name="feilun", standalone_mode=False)
    except FeilunError as error:
        return _tell(error, arguments)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader (head, less) has gone; point stdout elsewhere so that exit is quiet.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        clear = disk_error(error, error.filename or ".")
        if clear is None:
            raise
        return _tell(clear, arguments)
    except KeyboardInterrupt:
        return _tell_stopped()
    except Exception as error:
        # Typer's own errors, known by their shape: its classes moved between versions.
        if not hasattr(error, "format_message"):
            if type(error).__name__ == "Abort":
                return _tell_stopped()
            raise
        return _tell_usage(error)
    if result == STOPPED:
        # Newer versions of Typer turn Ctrl-C into this exit code.
        return _tell_stopped()
    return result if isinstance(result, int) else 0


def _tell_stopped() -> int:
    typer.echo(_("Stopped; what was committed is safe."), err=True)
    return STOPPED


def _tell(error: FeilunError, arguments: list[str]) -> int:
    if "--json" in arguments:
        import json

        content = {"code": error.code, "message": error.message, "remedy": error.remedy}
        typer.echo(json.dumps({"error": content}, ensure_ascii=False))
        return error.exit_code
    typer.secho(_("Error: "), fg="red", bold=True, nl=False, err=True)
    typer.echo(error.message, err=True)
    if error.remedy:
        typer.secho("  → " + error.remedy, fg="cyan", err=True)
    return error.exit_code


def _hint(error: Any) -> str:
    """The option or argument that an error of Typer's is about."""
    hint, parameter = getattr(error, "param_hint", None), getattr(error, "param", None)
    if hint is None and parameter is not None:
        # Older versions of Typer take the context too.
        wanted = parameter.get_error_hint.__code__.co_argcount - 1
        hint = parameter.get_error_hint(*[error.ctx][:wanted])
    return ", ".join(hint) if isinstance(hint, (list, tuple)) else str(hint or "")


def _tell_usage(error: Any) -> int:
    name = type(error).__name__
    hint = _hint(error)
    if name == "NoSuchOption":
        guesses = ", ".join(getattr(error, "possibilities", None) or [])
        text = _("There is no option {name}.").format(name=error.option_name)
        text += " " + _("Did you mean {guesses}?").format(guesses=guesses) if guesses else ""
    elif name == "MissingParameter":
        text = _("{name} is missing.").format(name=hint or error.format_message())
    elif name == "BadParameter":
        text = _("{name} cannot be used: {reason}").format(name=hint, reason=error.message)
    else:
        text = error.format_message()
    typer.secho(_("Error: "), fg="red", bold=True, nl=False, err=True)
    typer.echo(text, err=True)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "feilun"
    typer.secho(f"  → {command} --help", fg="cyan", err=True)
    return 2


if __name__ == "__main__":
    run()
