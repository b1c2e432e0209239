"""`feilun doctor`: is everything as it must be?"""

from __future__ import annotations

import platform
import shutil
import sqlite3
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from feilun.core.errors import FeilunError
from feilun.core.i18n import _
from feilun.models import load
from feilun.tasks import task_named
from feilun.version import __version__
from feilun.wheel.packaging.taking import DESCRIBED
from feilun.wheel.project import Project

LOW_DISK_BYTES = 1 << 30


class Finding(NamedTuple):
    """One thing looked at: its name, whether it is well, what was seen, and the mend."""

    what: str
    well: bool
    seen: str
    remedy: str | None = None


def examine(root: Path) -> list[Finding]:
    """Every finding about this installation and the project in `root` (if there is one)."""
    findings = [_python(), _sqlite(), _extra(), _disk(root)]
    try:
        project = Project.open(root)
    except FeilunError as error:
        return [*findings, Finding(_("project"), False, error.message, error.remedy)]
    findings.append(Finding(_("project"), True, project.settings.project.name))
    with project:
        for what, look in (
            (_("sources"), _sources),
            (_("databases"), _databases),
            (_("log"), _log),
            (_("stored files"), _stored_files),
            (_("live model"), _live_model),
        ):
            findings.append(_asked(what, look, project))
    return findings


def _asked(what: str, look: Callable[[Project], str], project: Project) -> Finding:
    try:
        return Finding(what, True, look(project))
    except FeilunError as error:
        return Finding(what, False, error.message, error.remedy)


def _python() -> Finding:
    seen = f"Feilun {__version__}, Python {platform.python_version()}"
    return Finding("Python", sys.version_info >= (3, 11), seen)


def _sqlite() -> Finding:
    # 3.7.15 brought nothing we need; what we need (UPSERT) came with 3.24.
    return Finding(
        "SQLite",
        sqlite3.sqlite_version_info >= (3, 24),
        sqlite3.sqlite_version,
        _("Use a Python with SQLite 3.24 or newer."),
    )


def _extra() -> Finding:
    missing = [name for name in ("torch", "transformers", "onnx") if find_spec(name) is None]
    seen = (
        _("not installed: {names}; only 'ngram' can be trained").format(names=", ".join(missing))
        if missing
        else _("installed")
    )
    # Not a fault: serving and `ngram` need none of them.
    return Finding(
        _("extra 'train'"), True, seen, "pip install 'feilun[train]'" if missing else None
    )


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root if root.exists() else Path()).free
    return Finding(
        _("free disk"),
        free >= LOW_DISK_BYTES,
        f"{free / 1e9:.1f} GB",
        _("Free some space: below 1 GB a turn may not end."),
    )


def _sources(project: Project) -> str:
    for source in project.settings.collect.sources:
        source.identity(project.root)
    return _("{count} readable").format(count=len(project.settings.collect.sources))


def _databases(project: Project) -> str:
    for database in (project.control.database, project.events.database):
        with database.read() as connection:
            answer = str(connection.exec_driver_sql("PRAGMA quick_check").scalar())
        if answer != "ok":
            from feilun.store.database import DamagedDatabase

            raise DamagedDatabase(database.path, answer)
    counts = project.events.counts()
    return _("sound; {predictions} predictions, {feedback} feedback").format(**counts)


def _stored_files(project: Project) -> str:
    wanted = {
        digest
        for stored in project.control.artifacts(limit=1_000_000)
        if stored.stage != DESCRIBED
        for digest in stored.artifact.files.values()
    }
    for digest in sorted(wanted):
        if project.blobs.current(digest) is not None:
            project.blobs.get(digest)
    erased = sum(project.blobs.erased(digest) is not None for digest in wanted)
    if erased:
        return _("{count} checked; {erased} have lost rows to an erasure").format(
            count=len(wanted), erased=erased
        )
    return _("{count} checked").format(count=len(wanted))


def _log(project: Project) -> str:
    """How texts are kept, whether the vault opens, and what that means for the next turn."""
    log = project.settings.serve.log
    project.events.predictions(0, limit=1)
    project.events.latest_feedback(1)
    seen = {
        "vault": _("texts are kept encrypted; the vault opens"),
        "masked": _("texts are kept masked, and learnt from as they are kept"),
        "hash": _("only digests are kept: feedback cannot be learnt from"),
        "full": _("texts are kept as they were sent"),
    }[log.keep]
    if (log.input_days, log.row_days, log.feedback_days) == (None, None, None):
        return _("{kept}; nothing is removed").format(kept=seen)
    return seen


def _live_model(project: Project) -> str:
    release = project.release
    if release is None:
        return _("none yet")
    task = task_named(release.model.task)
    task.answers(load(project.blobs_of(release.model)), [task.example])
    return f"{release.model.architecture} {release.model.short}"
