"""`feilun new`: a folder with a `feilun.toml` that says what can be set."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, cast

import polars as pl

from feilun.core import config
from feilun.core.errors import Conflict, Invalid, disk_error, shortened
from feilun.core.i18n import _
from feilun.core.part import find
from feilun.stages.collect import layouts
from feilun.stages.collect.columns import LABEL_NAMES, ColumnMissing, guess_columns
from feilun.stages.collect.files import Files
from feilun.stages.collect.reading import DOCUMENTS, ROW, FileMissing, NoRecords
from feilun.stages.collect.source import Quarantine
from feilun.store.disk import write_file
from feilun.tasks.regress import number
from feilun.tasks.task import Task
from feilun.wheel.project import Project

_NUMBERS = (
    "score", "rating", "stars", "value", "price", "amount", "y", *LABEL_NAMES,
    "分数", "得分", "价格", "金额", "数值",
)  # fmt: skip
"""What a column of the numbers to learn is often called."""
_COUNTS = ("id", "no", "index", "row", "编号", "序号")
"""What a column of numbers that only count the rows is called."""
_NAME = re.compile(r"\w[\w .-]{0,63}\Z")


class BadName(Invalid):
    """The project's name cannot be a folder's."""

    def __init__(self, name: str) -> None:
        super().__init__(
            _(
                "'{name}' cannot name a project: 1 to 64 letters, digits, '-', '_', '.' or spaces."
            ).format(name=shortened(name)),
            remedy="feilun new reviews --task classify --data PATH",
        )


class ProjectExists(Conflict):
    """There is a project in the folder already; it is left alone."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            _("{path} is there already and was left as it is.").format(path=path),
            remedy=_("Choose another NAME, or edit {path}.").format(path=path),
        )


class NoPair(Invalid):
    """A table for the task `match` has no two columns that are known to be a pair."""

    def __init__(self, path: Path | str, known: list[str]) -> None:
        listed = ", ".join(shortened(name, 30) for name in known[:20])
        super().__init__(
            _("Which two columns of {path} are the texts of a pair? It has: {known}.").format(
                path=path, known=listed
            ),
            remedy="feilun new NAME --task match --data PATH --first COLUMN --second COLUMN",
        )


_TEMPLATE = """\
# {name}: what this project learns from, and how.
# One section per stage of the wheel; a section that is left out has its defaults.

[project]
name = {name_text}
task = {task}{asked}
seed = 0

[[collect.sources]]
use = "files"
{source}path = {path}{columns}
{prepare}
[prepare.split]
test = 0.2            # {share}, frozen once a model is live
validation = 0.1

[train]
budget_seconds = 300  # for all candidates together
model.architecture = "auto"   # or "ngram", "transformer"

[release]
metric = {metrics}

[[release.rules]]
use = "better"        # the whole interval of the gain must be above minimum_gain
minimum_gain = 0.0    # in {unit}

[serve]
host = "127.0.0.1"
port = 8000
"""


_ASKED = {
    "classify": '     # several labels per text: { use = "classify", multiple = true }',
    "match": '        # { use = "match", same = LABEL } says which label means «the same»',
}
_SOURCE = {
    "tag": (
        "# Entities: lines of tokens with BIO tags (.conll, .bio), or texts with ranges:\n"
        '# {"text": "我在北京", "spans": [[2, 4, "LOC"]]}; characters are counted from 0.\n'
    ),
    "match": (
        "# Pairs of texts and, if there is one, a label that says how they go together:\n"
        '# {"first": "怎么退货", "second": "如何退款", "label": "1"}\n'
    ),
    "regress": "# The label is a number, such as 4, -0.5 or 1e3; what is none is dropped.\n",
}
_PREPARE = {
    "tag": """
# Entities that overlap or fall outside their text are dropped, with the reason; of a text that is
# tagged in several ways the majority's stays. Steps that go by labels (label_errors, balance) are
# not for entities.
""",
    "match": """
# A pair that a step leaves without one of its texts is dropped. Pairs that share a text may come
# to train and test; a column mapped to group, and by = "group" below, keep them together.
""",
    "regress": """
# Two numbers for one text are no conflict; the first one stays. Steps that go by labels
# (label_errors, balance) are not for numbers.
""",
}


def new(
    name: str,
    *,
    task: str,
    data: Path,
    text: str | None,
    label: str | None,
    parent: Path,
    first: str | None = None,
    second: str | None = None,
) -> Project:
    """A new project in the folder `parent / name`, whose first source is `data`, for `task`;
    `text`, `label`, and for pairs `first` and `second`, name its columns. Where the labels are
    lists, `classify` is set to several labels per text. Raises `ProjectExists`,
    `FileMissing`, `ColumnMissing`, `ColumnUnclear`, `NoPair`."""
    if not _NAME.match(name):
        raise BadName(name)
    root = parent / name
    path = root / config.FILE
    if path.exists() or (root.exists() and not root.is_dir()):
        raise ProjectExists(path if path.exists() else root)
    if not data.exists():
        raise FileMissing(data)
    named = {"text": text, "first": first, "second": second, "label": label}
    columns, lists = _columns(data, task, {role: name for role, name in named.items() if name})
    multiple = task == "classify" and lists
    content = _TEMPLATE.format(
        name=name,
        name_text=_quoted(name),
        task='{ use = "classify", multiple = true }' if multiple else _quoted(task),
        asked="" if multiple else _ASKED.get(task, ""),
        source=_SOURCE.get(task, ""),
        prepare=_PREPARE.get(task, ""),
        share="of what is labelled" if task in ("tag", "regress") or multiple else "of each label",
        metrics=_metrics({"use": task, "multiple": True} if multiple else {"use": task}),
        unit=_unit(task),
        path=_quoted(_relative(data, root)),
        columns=f"\ncolumns = {{ {columns} }}" if columns else "",
    )
    from feilun.wheel.settings import Settings

    config.parse(content, Settings, path)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise disk_error(error, root) or error from error
    write_file(path, content.encode())
    if not (root / ".gitignore").exists():
        write_file(root / ".gitignore", b".feilun/\n")
    return Project.open(root)


def _columns(data: Path, task: str, named: dict[str, str]) -> tuple[str, bool]:
    """The mapping to write down (what was named, else what is guessed from the first table), and
    whether the labels are lists."""
    source = Files(path=str(data))
    first = next(source.files(Path()))
    found, lists = dict(named), False
    if first.form not in DOCUMENTS:
        chunk = next(source.chunks(first, Quarantine()), None)
        if chunk is None:
            raise NoRecords(data)
        table = chunk.drop(ROW)
        for column in found.values():
            if column not in table.columns:
                raise ColumnMissing(data, column, table.columns)
        layout = layouts.detect(chunk, found)
        if task == "match":
            if layout != "pairs":
                raise NoPair(data, table.columns)
            found = layouts.resolved(chunk, layout, found, str(data))
        elif layout == "labelled":
            found = _guessed(table, task, first.path, found)
            lists = "label" in found and _listed(table[found["label"]])
    written = ", ".join(f"{role} = {_quoted(column)}" for role, column in found.items())
    return written, lists


def _listed(cells: pl.Series) -> bool:
    """Whether every cell is a list, as JSON writes it."""
    if isinstance(cells.dtype, pl.List):
        return True
    written = cells.cast(pl.String, strict=False).drop_nulls()
    return bool(len(written)) and written.str.contains(r"^\s*\[.*\]\s*$").all()


def _guessed(table: pl.DataFrame, task: str, path: Path, named: dict[str, str]) -> dict[str, str]:
    """The text and, if any, the label: for `regress` a column of numbers, for `tag` none."""
    if named.keys() >= {"text", "label"}:
        return named
    found = guess_columns(table, path, named) | named
    if task == "tag" and "label" not in named:
        found.pop("label", None)
    if task == "regress" and "label" not in named:
        apart = {found["text"], *(name for name in table.columns if name.lower() in _COUNTS)}
        numeric = [name for name in table.columns if name not in apart and _numeric(table[name])]
        found.pop("label", None)
        usual = [name for name in numeric if name.strip().lower() in _NUMBERS]
        if usual or len(numeric) == 1:
            found["label"] = (usual or numeric)[0]
    return found


def _numeric(cells: pl.Series) -> bool:
    written = cells.cast(pl.String, strict=False).drop_nulls().unique().to_list()
    return len(written) > 1 and all(number(cell) is not None for cell in written)


def _metrics(task: dict[str, Any]) -> str:
    """The task's first metric, and the others in a comment."""
    made = cast(type[Task], find("task", task["use"])).model_validate(task)
    first, *others = made.metrics
    more = f"   # or {', '.join(_quoted(name) for name in others)}" if others else ""
    return _quoted(first) + more


def _unit(task: str) -> str:
    return "the unit of the label" if task == "regress" else "shares of 1: 0.01 is one point"


def _quoted(text: str) -> str:
    """`text` as a TOML basic string; JSON's escapes are a subset of TOML's, but for one."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _relative(data: Path, root: Path) -> str:
    """Relative where project and data share a folder, so that they can be moved together."""
    relative = os.path.relpath(data.resolve(), root.resolve())
    return relative if relative.count("..") <= 2 else str(data.resolve())
