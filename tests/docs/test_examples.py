"""Every block of code in the docs runs.

The shell blocks of one page run in one shell session, in order; its Python blocks share nothing.
A page's key, port and prediction ids are those of somebody's run: they are replaced by ours.
`auto` becomes `ngram` in projects that a page makes, so that torch is not loaded again and again.
"""

from __future__ import annotations

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_blocks import ROOT, Block, blocks, pages

import feilun

EXAMPLES = ROOT / "examples"
BIN = Path(sys.executable).parent
SETTINGS = """\
[project]
name = "tickets"

[[collect.sources]]
use = "files"
path = "../tickets.csv"
columns = { text = "message", label = "topic" }

[train]
model.architecture = "ngram"
"""


def chosen(language: str) -> dict[Path, list[Block]]:
    """The blocks to run, by page."""
    found = {
        page: [
            block
            for block in blocks(page)
            if block.language == language and not block.skipped and not block.title
        ]
        for page in pages()
        if page.exists() and page.name != "CONTRIBUTING.md"
    }
    return {page: each for page, each in found.items() if each}


def name_of(page: object) -> str:
    return str(page.relative_to(ROOT)) if isinstance(page, Path) else ""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `tickets.csv` and the project `tickets`, after one turn."""
    root = tmp_path_factory.mktemp("docs")
    shutil.copy(EXAMPLES / "data" / "tickets.csv", root)
    (root / "tickets").mkdir()
    (root / "tickets" / "feilun.toml").write_text(SETTINGS, encoding="utf-8")
    with feilun.open(str(root / "tickets")) as project:
        turn = project.turn()
        assert turn.verdict is not None
        assert turn.verdict.released
    return root


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """A copy of it, with the examples beside and a spreadsheet in the project."""
    root = Path(shutil.copytree(template, tmp_path / "docs"))
    shutil.copytree(EXAMPLES, root / "examples")
    shutil.copy(root / "tickets.csv", root / "tickets")
    return root


class Shell:
    """One shell session: folder and variables are kept from block to block."""

    def __init__(self, folder: Path, state: Path) -> None:
        self._folder, self._state = folder, state
        self._state.touch()
        self._server: subprocess.Popen[str] | None = None
        self._port = self._key = self._prediction = ""

    def run(self, block: Block) -> None:
        lines = block.text.splitlines()
        serving = [line for line in lines if line.startswith("feilun serve")]
        script = "\n".join(line for line in lines if line not in serving)
        script = re.sub(r"fw_…", self._key or "fw_…", script)
        script = re.sub(r"127\.0\.0\.1:8000", f"127.0.0.1:{self._port}", script)
        script = re.sub(r"\bp_[0-9a-f]{20,}", self._prediction or "p_none", script)
        script = script.replace("curl -s", "curl -sS --fail-with-body")
        if "p_0" in script:  # the one request that is meant to be refused
            script = script.replace(" --fail-with-body", "")
        out = self._bash(script, block)
        found = re.findall(r"\bp_[0-9a-f]{20,}", out)
        self._prediction = found[0] if found else self._prediction
        if re.search(r"^feilun new ", script, re.MULTILINE):
            for path in self._folder.glob("**/feilun.toml"):
                path.write_text(path.read_text("utf-8").replace('= "auto"', '= "ngram"'), "utf-8")
        for line in serving:
            self._serve(line.partition("#")[0].strip(), block)

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGTERM)
            self._server.communicate(timeout=30)
            assert self._server.returncode == 0

    def _bash(self, script: str, block: Block) -> str:
        # `feilun new` and what follows it may stand in one block: auto is replaced in between.
        script = re.sub(
            r"^(feilun new (\w+).*)$",
            r"""\1; sed -i 's/= "auto"/= "ngram"/' \2/feilun.toml""",
            script,
            flags=re.MULTILINE,
        )
        keep = f'{{ printf "cd %q\\n" "$PWD"; export -p; }} > "{self._state}"'
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f'source "{self._state}"\n{script}\n{keep}'],
            cwd=self._folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{block.where}\n{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def _serve(self, command: str, block: Block) -> None:
        start = f'source "{self._state}"; exec {command} --port 0'
        self._server = subprocess.Popen(
            ["bash", "-c", start],
            cwd=self._folder,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        until = time.monotonic() + 30
        while not (self._port and self._key) and time.monotonic() < until:
            line = self._server.stdout.readline()
            assert line, block.where
            port, key = re.search(r"Serving at \S+:(\d+)", line), re.search(r"fw_\w+", line)
            self._port = port[1] if port else self._port
            self._key = key[0] if key else self._key


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FEILUN_")}
    path = f"{BIN}{os.pathsep}{kept.get('PATH', '')}"
    return {**kept, "PATH": path, "FEILUN_LANG": "en", "no_proxy": "*"}


@pytest.fixture
def shell(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shell]:
    page: Path = request.getfixturevalue("page")
    if page.name.startswith("README") and page.parent == ROOT:
        shutil.rmtree(folder / "tickets")
        start = folder
    else:
        start = folder if page.parent == EXAMPLES or page.name == "tasks.md" else folder / "tickets"
    made = Shell(start, tmp_path / "state.sh")
    yield made
    made.stop()


@pytest.mark.parametrize("page", chosen("sh"), ids=name_of)
def test_shell_blocks_run(page: Path, shell: Shell) -> None:
    for block in chosen("sh")[page]:
        shell.run(block)


@pytest.mark.parametrize("page", chosen("python"), ids=name_of)
def test_python_blocks_run(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder if page.parent == ROOT else folder / "tickets")
    for block in chosen("python")[page]:
        code = compile("\n" * block.line + block.text, str(page), "exec")
        exec(code, {"__name__": "__main__"})


@pytest.mark.parametrize(
    "block",
    [block for each in chosen("toml").values() for block in each],
    ids=lambda block: block.where,
)
def test_toml_blocks_are_settings(block: Block, tmp_path: Path) -> None:
    from feilun.core.config import parse
    from feilun.wheel.settings import Settings

    said = block.text
    about = "" if "[project]" in said else '[project]\nname = "x"\n'
    source = "" if "[[collect.sources]]" in said else '[[collect.sources]]\nuse="files"\npath="x"\n'
    parse(about + source + said, Settings, tmp_path / "feilun.toml")


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "quickstart.py"), run_name="__main__")
    said = capsys.readouterr().out
    assert "accuracy" in said
    assert "delivery" in said


def test_few_blocks_are_left_out() -> None:
    left = [b.where for page in pages() if page.exists() for b in blocks(page) if b.skipped]
    assert len(left) <= 6, left


def test_a_wrong_block_fails(folder: Path, tmp_path: Path) -> None:
    """The negative control: the harness notices a command that does not exist."""
    wrong = Block(ROOT / "README.md", 1, "sh", "", "feilun trun\n", False)
    with pytest.raises(AssertionError, match="trun"):
        Shell(folder / "tickets", tmp_path / "state.sh").run(wrong)
