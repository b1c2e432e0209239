"""`feilun predict`: the live model's answers to texts (or pairs), or to a file of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.errors import Invalid
from feilun.core.i18n import _

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from feilun.stages.collect.source import Quarantine
    from feilun.tasks.task import Input
    from feilun.wheel.predictions import Answered
    from feilun.wheel.project import Project


class OddTexts(Invalid):
    """Texts that are to be compared by twos, and one is left over."""

    def __init__(self, count: int) -> None:
        super().__init__(
            _("This model compares two texts at a time; {count} were given.").format(count=count),
            remedy="feilun predict FIRST SECOND",
        )


def register(app: App) -> None:
    """Adds the command."""
    app.command("predict", help=_("Predict with what is live: texts, or a file."))(predict)


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(help=_("Texts, or one file of records."), metavar="TEXT… | FILE"),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help=_("Write .csv, .jsonl or .parquet here."), metavar="FILE"),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help=_("The column of the text."), metavar="COLUMN")
    ] = None,
    first: Annotated[
        str | None,
        typer.Option(help=_("Of pairs: the column of the first text."), metavar="COLUMN"),
    ] = None,
    second: Annotated[
        str | None,
        typer.Option(help=_("Of pairs: the column of the second text."), metavar="COLUMN"),
    ] = None,
    log: Annotated[
        bool | None,
        typer.Option("--log/--no-log", help=_("Log, so that feedback can refer to it.")),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """A row per input: label, score, scores. Texts are logged, files only with --log. For `match`
    texts are taken by twos. A file with --out may be of any size."""
    from feilun.cli.output import print_json, print_written
    from feilun.stages.collect.reading import form_of
    from feilun.stages.collect.source import Quarantine
    from feilun.wheel.tables import check_ending, unreadable, write_table

    if out is not None:
        check_ending(out)
    is_file = len(inputs) == 1 and form_of(Path(inputs[0])) is not None
    quarantine = Quarantine()
    columns = {"text": text, "first": first, "second": second}
    with open_project(project) as opened:
        if is_file and out is not None:
            count = _whole_file(opened, Path(inputs[0]), out, columns, quarantine, log or False)
            if (told := unreadable(quarantine)) is not None:
                typer.secho(told, err=True)
            print_written(count, out, as_json=as_json)
            return
        pairs = opened.settings.project.task.use == "match"
        if is_file:
            given = _read(Path(inputs[0]), pairs, columns, quarantine)
        else:
            given = _by_twos(inputs) if pairs else inputs
        if (told := unreadable(quarantine)) is not None:
            typer.secho(told, err=True)
        answers = opened.predict(given, log=log if log is not None else not is_file)
    if out is not None:
        write_table(_table(given, answers), out)
        print_written(len(given), out, as_json=as_json)
    elif as_json:
        print_json([answer.shown() for answer in answers])
    else:
        _print(given, answers)


def _whole_file(
    project: Project,
    source: Path,
    out: Path,
    columns: dict[str, str | None],
    quarantine: Quarantine,
    log: bool,
) -> int:
    """How many rows were written; a person who watches sees how many so far."""
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from feilun.cli.output import console
    from feilun.wheel.bulk import predict_file

    told = console(err=True)
    shown = Progress(
        TextColumn("{task.description}"),
        TextColumn(_("{task.completed:,} rows")),
        TimeElapsedColumn(),
        console=told,
        transient=True,
        disable=not told.is_terminal,
    )
    with shown:
        task = shown.add_task(source.name, total=None)
        return predict_file(
            project,
            source,
            out,
            columns=columns,
            quarantine=quarantine,
            log=log,
            progress=lambda rows: shown.update(task, completed=rows),
        )


def _read(
    path: Path, pairs: bool, columns: dict[str, str | None], quarantine: Quarantine
) -> Sequence[Input]:
    from feilun.wheel.tables import read_pairs, read_texts

    if not pairs:
        return read_texts(path, columns["text"], quarantine)
    named = {side: name for side in ("first", "second") if (name := columns[side])}
    return read_pairs(path, named, quarantine)


def _by_twos(texts: Sequence[str]) -> list[Input]:
    if len(texts) % 2:
        raise OddTexts(len(texts))
    return list(zip(texts[::2], texts[1::2], strict=True))


def _print(inputs: Sequence[Input], answers: list[Answered]) -> None:
    from feilun.cli.output import print_table
    from feilun.core.errors import shortened

    print_table(
        [_("answer"), _("score"), _("text"), "id"],
        [
            [
                f"– ({answer.reason})" if answer.label is None else answer.label or "–",
                f"{answer.score:.3f}",
                " | ".join(shortened(text) for text in _sides(given)),
                answer.id,
            ]
            for given, answer in zip(inputs, answers, strict=True)
        ],
    )


def _sides(given: Input) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else given


def _table(inputs: Sequence[Input], answers: list[Answered]) -> pl.DataFrame:
    from feilun.wheel.bulk import answers_table, beside

    ids = [answer.id for answer in answers]
    return beside(inputs, answers_table([answer.answer for answer in answers], ids))
