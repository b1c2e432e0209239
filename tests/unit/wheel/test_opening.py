"""What opening a project loads: a process that only serves opens one, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SETTINGS = """\
[project]
name = "reviews"

[[collect.sources]]
use = "files"
path = "reviews.csv"

[[collect.sources]]
use = "predictions"

[[collect.sources]]
use = "gateway"

[[prepare.steps]]
use = "normalise"

[[prepare.steps]]
use = "mask"

[[prepare.steps]]
use = "near_duplicates"

[train.distil]
teacher = { use = "endpoint", endpoint = "http://127.0.0.1:1/v1", model = "m" }
"""


def test_opening_a_project_loads_no_tables_and_no_client(tmp_path: Path) -> None:
    (tmp_path / "feilun.toml").write_text(SETTINGS)
    code = (
        "import sys; from feilun.wheel.project import Project; "
        "print(len(Project.open(sys.argv[1]).settings.prepare.steps), *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    steps, *loaded = done.stdout.split()
    assert steps == "3"
    assert not {"polars", "pyarrow", "httpx", "jinja2", "torch"} & set(loaded)
