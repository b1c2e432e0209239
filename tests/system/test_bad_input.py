"""Whatever is wrong, `feilun` says what, where and how to mend it, in two languages; and the
project is usable afterwards: `status` works, and once it is mended so does `turn`."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from feilun.cli.main import main
from feilun.core.i18n import _, speak
from feilun.store.disk import lock
from feilun.wheel.project import Project

SETTINGS = """\
[project]
name = "reviews"

[[collect.sources]]
use = "files"
path = "data.csv"
columns = { text = "text", label = "label" }

[train]
model = { architecture = "ngram", bits = 14 }
"""
ROWS = [
    (f"{'房间干净，很好' if n % 2 else '房间很脏，很差'}，第{n}号", "正面" if n % 2 else "负面")
    for n in range(80)
]
FAULTY = (
    "import resource, sys; from feilun.cli.main import run; {before}; sys.argv[0] = 'feilun'; run()"
)


def write_rows(root: Path, rows: list[tuple[str, str]]) -> None:
    with (root / "data.csv").open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([("text", "label"), *rows])


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which nothing was done yet."""
    root = tmp_path_factory.mktemp("fresh") / "reviews"
    root.mkdir()
    (root / "feilun.toml").write_text(SETTINGS, encoding="utf-8")
    write_rows(root, ROWS)
    return root


@pytest.fixture(scope="module")
def turned(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a turn."""
    root = Path(shutil.copytree(fresh, tmp_path_factory.mktemp("turned") / "reviews"))
    done = feilun(root, ["turn"])
    assert done.returncode == 0, done.stderr
    return root


class Ran(NamedTuple):
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def feilun(root: Path, arguments: list[str], language: str = "en") -> Ran:
    """The command in this process, as its entry point runs it: a table of it takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(root)
        patch.setenv("FEILUN_LANG", language)
        code = main(arguments)
    return Ran(code, out.getvalue(), err.getvalue())


def feilun_apart(
    root: Path,
    arguments: list[str],
    language: str,
    before: str = "pass",
    wrap: tuple[str, ...] = (),
) -> Ran:
    """The command in a process of its own, after `before`, within `wrap`."""
    ran = subprocess.run(
        [*wrap, sys.executable, "-c", FAULTY.format(before=before), *arguments],
        cwd=root,
        env={**os.environ, "FEILUN_LANG": language, "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / "feilun.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def rows(new: list[tuple[str, str]]) -> Callable[[Path], None]:
    return lambda root: write_rows(root, new)


def content(data: bytes) -> Callable[[Path], None]:
    return lambda root: (root / "data.csv").write_bytes(data) and None  # type: ignore[func-returns-value]


def damage(root: Path) -> None:
    """Flips one bit of the live model's largest file; done twice, nothing was done."""
    with Project.open(root) as project:
        assert project.release is not None
        files = project.release.model.files.values()
        weights = max(map(project.blobs.path, files), key=lambda path: path.stat().st_size)
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)


def mend_blob(root: Path) -> None:
    """The bytes that a backup would give back."""
    damage(root)


class Case(NamedTuple):
    """`template` is one of our messages: what is said is found in it in both languages."""

    name: str
    spoil: Callable[[Path], None]
    arguments: list[str]
    exit_code: int
    template: str
    says: tuple[str, ...]
    mend: Callable[[Path], None] | None
    after_a_turn: bool = False
    before: str = ""
    status_works: bool = True


def nothing(_root: Path) -> None:
    """The project is as it was."""


def restore(root: Path) -> None:
    (root / "feilun.toml").write_text(SETTINGS, encoding="utf-8")
    write_rows(root, ROWS)


LIMIT = "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
CASES = [
    Case(
        "settings_missing",
        lambda root: (root / "feilun.toml").unlink(),
        ["turn"],
        3,
        "{path} is no project: it has no feilun.toml.",
        ("reviews",),
        restore,
        status_works=False,
    ),
    Case(
        "settings_with_several_mistakes",
        edit("[train]\n", "[train]\nbudget_secons = 5\n[serve]\nport = 99999\n[oops]\n"),
        ["turn"],
        2,
        "{path} has {count} mistake(s):",
        ("line 10", "budget_seconds", "line 12", "99999", "line 13", "oops"),
        restore,
        status_works=False,
    ),
    Case(
        "settings_not_toml",
        edit("[project]", "[project"),
        ["turn"],
        2,
        "{path} has {count} mistake(s):",
        ("line 1",),
        restore,
        status_works=False,
    ),
    Case(
        "unknown_part",
        edit('use = "files"', 'use = "flies"'),
        ["turn"],
        2,
        "unknown {key} '{name}'; did you mean '{guess}'?",
        ("flies", "files"),
        restore,
        status_works=False,
    ),
    Case(
        "unknown_key",
        edit("path =", "pat ="),
        ["turn"],
        2,
        "unknown key; did you mean '{guess}'?",
        ("pat", "path"),
        restore,
        status_works=False,
    ),
    Case(
        "missing_column",
        edit('label = "label"', 'label = "lable"'),
        ["turn"],
        2,
        "{path} has no column '{column}'; it has: {known}.",
        ("lable", "text, label"),
        restore,
    ),
    Case(
        "one_class_only",
        rows([(text, "正面") for text, _label in ROWS]),
        ["turn"],
        2,
        "A classifier needs two labels or more; the records have {count}: {labels}.",
        ("1", "正面"),
        restore,
    ),
    Case(
        "empty_texts",
        rows([(" ", label) for _text, label in ROWS]),
        ["turn"],
        2,
        "{count} labelled records are left after cleaning; [prepare.split] minimum asks for {needed}.",  # noqa: E501
        ("0", "20"),
        restore,
    ),
    Case(
        "too_few_rows",
        rows(ROWS[:10]),
        ["turn"],
        2,
        "{count} labelled records are left after cleaning; [prepare.split] minimum asks for {needed}.",  # noqa: E501
        ("10", "20"),
        restore,
    ),
    Case(
        "no_rows",
        content(b"text,label\n"),
        ["turn"],
        2,
        "The sources hold no records; {count:,} rows could not be read.",
        ("0", "feilun collect --preview"),
        restore,
    ),
    Case(
        "unreadable_encoding",
        content(b"text,label\n\xff\xff\xff,x\n"),
        ["turn"],
        2,
        "{path} is not text in {tried}: byte {at} does not fit.",
        ("data.csv", "11"),
        restore,
    ),
    Case(
        "broken_csv",
        content(b"text,label\na,b,c,d\n"),
        ["turn"],
        2,
        "The sources hold no records; {count:,} rows could not be read.",
        ("1", "feilun collect --preview"),
        restore,
    ),
    Case(
        "vanished_file",
        lambda root: (root / "data.csv").unlink(),
        ["turn"],
        3,
        "The source {path} is not there.",
        ("data.csv",),
        restore,
    ),
    Case(
        "full_disk",
        nothing,
        ["turn"],
        7,
        "No space left to write {path}; what was already committed is safe.",
        (".feilun",),
        nothing,
        before=LIMIT,
    ),
    Case(
        "full_disk_when_logging",
        nothing,
        ["predict", *["很好" * 2000] * 5],
        7,
        "No space left to write {path}; what was already committed is safe.",
        ("events.db",),
        nothing,
        after_a_turn=True,
        before=LIMIT.replace("3000", "40_000"),
    ),
    Case(
        "damaged_blob",
        damage,
        ["predict", "很好"],
        8,
        "The stored file {path} is damaged: its bytes have the digest {found}, not {digest}. It is refused.",  # noqa: E501
        ("blobs",),
        mend_blob,
        after_a_turn=True,
    ),
    Case(
        "unknown_prediction",
        nothing,
        ["feedback", "add", "p_nothing", "correction", "正面"],
        3,
        "There is no prediction '{id}' in this project.",
        ("p_nothing",),
        nothing,
        after_a_turn=True,
    ),
    Case(
        "bad_feedback",
        nothing,
        ["feedback", "add", "p_nothing", "rating", "7"],
        2,
        "A rating is true, false or a number from 0 to 1.",
        (),
        nothing,
        after_a_turn=True,
    ),
    Case("nothing_live", nothing, ["predict", "很好"], 3, "No model is live yet.", (), nothing),
    Case(
        "bad_reference",
        nothing,
        ["show", "modle/live"],
        2,
        "{kinds}",
        ("modle/live", "model"),
        nothing,
    ),
    Case(
        "unknown_artifact",
        nothing,
        ["show", "model/7"],
        3,
        "There is no {ref} in this project.",
        ("model/7",),
        nothing,
    ),
    Case(
        "unknown_stage",
        nothing,
        ["turn", "--until", "trian"],
        2,
        "'{name}' is no stage of a turn; they are: {known}.",
        ("trian", "train"),
        nothing,
    ),
    Case(
        "damaged_database",
        lambda root: (root / ".feilun" / "control.db").write_bytes(b"x" * 9000) and None,
        ["turn"],
        8,  # type: ignore[func-returns-value]
        "The database {path} is damaged ({reason}).",
        ("control.db",),
        lambda root: shutil.rmtree(root / ".feilun"),
        after_a_turn=True,
        status_works=False,
    ),
]


def pattern(template: str) -> str:
    """A regular expression for what a template says, whatever its values are."""
    parts = re.split(r"{[^}]*}", template)
    return ".*".join(re.escape(part) for part in parts)


def check(run: Ran, case: Case, language: str) -> None:
    assert run.returncode == case.exit_code, run.stdout + run.stderr
    assert "Traceback" not in run.stderr, run.stderr
    with speak(language):
        assert re.search(pattern(_(case.template)), run.stderr, re.DOTALL), run.stderr
        assert run.stderr.startswith(_("Error: ")) or "\n" + _("Error: ") in run.stderr
    for value in case.says:
        if language == "en" or not value.startswith("line "):
            assert value in run.stderr, run.stderr
    assert re.search(r"^  → \S", run.stderr, re.MULTILINE), "no mend is named"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_wrong_is_told_and_the_project_stays_usable(
    case: Case, fresh: Path, turned: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(turned if case.after_a_turn else fresh, tmp_path / "reviews"))
    case.spoil(root)
    for language in ("en", "zh"):
        if case.before:
            run = feilun_apart(root, case.arguments, language, case.before)
        else:
            run = feilun(root, case.arguments, language)
        check(run, case, language)
    if case.status_works:
        status = feilun(root, ["status"])
        assert status.returncode == 0, status.stderr
    if case.mend is not None:
        case.mend(root)
    again = feilun(root, ["turn", "--json"])
    assert again.returncode == 0, again.stdout + again.stderr
    assert json.loads(again.stdout)["status"] == "done"


def test_with_json_the_error_is_json(turned: Path) -> None:
    run = feilun(turned, ["show", "model/7", "--json"])
    error = json.loads(run.stdout)["error"]
    assert run.returncode == 3
    assert error["code"] == "artifact_not_found"
    assert "model/7" in error["message"]
    assert error["remedy"] == "feilun status"


def test_a_second_writer_is_refused_and_told_who_is_first(turned: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(turned, tmp_path / "reviews"))
    template = "{what} is in use by another process ({holder}); one writer at a time."
    case = Case("second_writer", nothing, ["turn"], 6, template, (f"pid {os.getpid()}",), None)
    with ExitStack() as held:
        held.enter_context(lock(root / ".feilun" / "turn.lock", what="test"))
        for language in ("en", "zh"):
            check(feilun(root, case.arguments, language), case, language)
        assert feilun(root, ["status"]).returncode == 0, "readers are not kept out"
    assert feilun(root, ["turn"]).returncode == 0


READ_ONLY = 'mount --bind {root} {root} && mount -o remount,ro,bind {root} && exec "$@"'


def test_a_read_only_folder_is_told(fresh: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(fresh, tmp_path / "reviews"))
    if os.geteuid() == 0:
        # Root ignores permissions, but not a mount that is read-only in its own namespace.
        wrap: tuple[str, ...] = ("unshare", "-rm", "sh", "-c", READ_ONLY.format(root=root), "sh")
        probe = subprocess.run([*wrap, "touch", str(root / "x")], capture_output=True, check=False)
        if probe.returncode == 0 or b"Read-only" not in probe.stderr:
            pytest.skip("no mount namespace here: a read-only folder cannot be had as root")
        # The working directory was entered before the mount; enter it again.
        wrap = (*wrap, "sh", "-c", f'cd {root} && exec "$@"', "sh")
    else:
        wrap = ()
        root.chmod(0o555)
    template = "{path} cannot be written."
    case = Case("read_only", nothing, ["turn"], 2, template, (str(root / ".feilun"),), None)
    try:
        for language in ("en", "zh"):
            check(feilun_apart(root, case.arguments, language, wrap=wrap), case, language)
    finally:
        root.chmod(0o755)
    assert not (root / ".feilun").exists()
    assert feilun(root, ["status"]).returncode == 0
    assert feilun(root, ["turn"]).returncode == 0
