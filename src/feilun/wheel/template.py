"""`feilun new`: a folder with a `feilun.toml` that says what can be set."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from feilun.core import config
from feilun.core.errors import Conflict, Invalid, disk_error, shortened
from feilun.core.i18n import _
from feilun.stages.collect import layouts
from feilun.stages.collect.columns import ColumnMissing, guess_columns
from feilun.stages.collect.files import Files
from feilun.stages.collect.reading import DOCUMENTS, ROW, FileMissing, NoRecords
from feilun.stages.collect.source import Quarantine
from feilun.store.disk import write_file
from feilun.wheel.project import Project

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


_TEMPLATE = """\
# {name}: what this project learns from, and how.
# One section per stage of the wheel; a section that is left out has its defaults.

[project]
name = {name_text}
task = "{task}"
seed = 0

[[collect.sources]]
use = "files"
path = {path}{columns}

[prepare.split]
test = 0.2            # of each label, frozen once a model is live
validation = 0.1

[train]
budget_seconds = 300  # for all candidates together
model.architecture = "auto"   # or "ngram", "transformer"

[release]
metric = "accuracy"   # or "macro_f1"

[[release.rules]]
use = "better"        # the whole interval of the gain must be above minimum_gain
minimum_gain = 0.0

[serve]
host = "127.0.0.1"
port = 8000
"""


def new(
    name: str, *, task: str, data: Path, text: str | None, label: str | None, parent: Path
) -> Project:
    """A new project in the folder `parent / name`, whose first source is `data`; raises
    `ProjectExists`, `FileMissing`, `ColumnMissing`, `ColumnUnclear`."""
    if not _NAME.match(name):
        raise BadName(name)
    root = parent / name
    path = root / config.FILE
    if path.exists() or (root.exists() and not root.is_dir()):
        raise ProjectExists(path if path.exists() else root)
    if not data.exists():
        raise FileMissing(data)
    columns = _columns(data, text, label)
    content = _TEMPLATE.format(
        name=name,
        name_text=_quoted(name),
        task=task,
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


def _columns(data: Path, text: str | None, label: str | None) -> str:
    """The mapping to write down: what was named, else what is guessed from the first table."""
    source = Files(path=str(data))
    first = next(source.files(Path()))
    named = {"text": text, "label": label}
    found = {role: column for role, column in named.items() if column is not None}
    if first.form not in DOCUMENTS:
        chunk = next(source.chunks(first, Quarantine()), None)
        if chunk is None:
            raise NoRecords(data)
        table = chunk.drop(ROW)
        for column in found.values():
            if column not in table.columns:
                raise ColumnMissing(data, column, table.columns)
        if len(found) < len(named) and layouts.detect(chunk, found) == "labelled":
            found = guess_columns(table, first.path, found)
    return ", ".join(f"{role} = {_quoted(column)}" for role, column in found.items())


def _quoted(text: str) -> str:
    """`text` as a TOML basic string; JSON's escapes are a subset of TOML's, but for one."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _relative(data: Path, root: Path) -> str:
    """Relative where project and data share a folder, so that they can be moved together."""
    relative = os.path.relpath(data.resolve(), root.resolve())
    return relative if relative.count("..") <= 2 else str(data.resolve())
