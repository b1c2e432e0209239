"""Every notebook of the examples runs from its first cell to its last, as a reader would run it.

The cells are executed in order in one process of their own, like Jupyter's kernel does, but
without Jupyter: they are plain Python, and what a cell shows last is made into text or HTML.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from markdown_blocks import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SECONDS = 400
"""It takes 18 of a processor; a machine that does much else makes more of them."""
KERNEL = """
import ast, json, sys

scope = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin), start=1):
    tree = ast.parse(source, f"cell {number}")
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), scope)
    if last is not None:
        shown = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), scope)
        getattr(shown, "_repr_html_", shown.__repr__)()
        print(shown)
    print(f"== cell {number} ran")
"""


def cells(notebook: Path) -> list[dict[str, Any]]:
    found = json.loads(notebook.read_text(encoding="utf-8"))
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    return list(found["cells"])


def run(sources: list[str]) -> subprocess.CompletedProcess[str]:
    """The cells' code, run in `examples`, with no hub to reach."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FEILUN_")}
    environment = {**kept, "FEILUN_LANG": "en", "HF_HUB_OFFLINE": "1", "MPLBACKEND": "agg"}
    return subprocess.run(
        [sys.executable, "-c", KERNEL],
        cwd=ROOT / "examples",
        env=environment,
        input=json.dumps(sources),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_well_formed_and_small(notebook: Path) -> None:
    found = cells(notebook)
    assert len({cell["id"] for cell in found}) == len(found)
    for cell in found:
        wanted = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            wanted |= {"execution_count", "outputs"}
            assert not cell["outputs"], "clear the outputs before committing"
        assert set(cell) == wanted
    assert notebook.stat().st_size < 100_000


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs(notebook: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("optuna")
    sources = ["".join(c["source"]) for c in cells(notebook) if c["cell_type"] == "code"]
    done = run(sources)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert f"== cell {len(sources)} ran" in done.stdout


def test_a_wrong_cell_fails() -> None:
    """The negative control: a cell that raises is noticed, with its number."""
    done = run(["x = 1", "x.nothing"])
    assert done.returncode != 0
    assert 'File "cell 2"' in done.stderr
