"""`feilun predict`: the live model's answers to texts, or to a file of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from feilun.cli.app import App
from feilun.cli.options import HERE, AsJson, ProjectFolder, open_project
from feilun.core.i18n import _

if TYPE_CHECKING:
    import polars as pl

    from feilun.wheel.project import Answered


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
    log: Annotated[
        bool | None,
        typer.Option("--log/--no-log", help=_("Log, so that feedback can refer to it.")),
    ] = None,
    project: ProjectFolder = HERE,
    as_json: AsJson = False,
) -> None:
    """A row per input: label, score, scores. Texts are logged, files only with --log."""
    from feilun.cli.output import print_json, print_written
    from feilun.stages.collect.reading import form_of
    from feilun.stages.collect.source import Quarantine
    from feilun.wheel.tables import check_ending, read_texts, unreadable, write_table

    if out is not None:
        check_ending(out)
    path = Path(inputs[0])
    is_file = len(inputs) == 1 and form_of(path) is not None
    quarantine = Quarantine()
    texts = read_texts(path, text, quarantine) if is_file else inputs
    if (told := unreadable(quarantine)) is not None:
        typer.secho(told, err=True)
    with open_project(project) as opened:
        answers = opened.predict(texts, log=log if log is not None else not is_file)
    if out is not None:
        write_table(_table(texts, answers), out)
        print_written(len(texts), out, as_json=as_json)
    elif as_json:
        print_json([answer.shown() for answer in answers])
    else:
        _print(texts, answers)


def _print(texts: list[str], answers: list[Answered]) -> None:
    from feilun.cli.output import print_table
    from feilun.core.errors import shortened

    print_table(
        [_("answer"), _("score"), _("text"), "id"],
        [
            [
                f"– ({answer.reason})" if answer.label is None else answer.label or "–",
                f"{answer.score:.3f}",
                shortened(text),
                answer.id,
            ]
            for text, answer in zip(texts, answers, strict=True)
        ],
    )


def _table(texts: list[str], answers: list[Answered]) -> pl.DataFrame:
    import json

    import polars as pl

    return pl.DataFrame(
        {
            "text": texts,
            "label": [answer.label for answer in answers],
            "score": [answer.score for answer in answers],
            "scores": [json.dumps(answer.scores, ensure_ascii=False) for answer in answers],
            "reason": [answer.reason for answer in answers],
            "id": [answer.id or None for answer in answers],
        },
        schema_overrides={"label": pl.String, "reason": pl.String, "id": pl.String},
    )
