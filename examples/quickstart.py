"""The loop in Python: learn from a table, answer, take a correction, turn again."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import feilun

SETTINGS = """\
[project]
name = "tickets"

[[collect.sources]]
use = "files"
path = "tickets.csv"
columns = { text = "message", label = "topic" }

[train]
model.architecture = "ngram"
"""


def main() -> None:
    """Makes a project in a temporary folder and turns its wheel twice."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copy(Path(__file__).parent / "data" / "tickets.csv", root)
        (root / "feilun.toml").write_text(SETTINGS, encoding="utf-8")
        with feilun.open(folder) as project:
            run(project)


def run(project: feilun.Project) -> None:
    """Two turns, with one correction in between."""
    turn = project.turn()
    assert turn.report is not None
    accuracy = turn.report.metrics["accuracy"]
    print(f"accuracy {accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]")

    answer = project.predict(["快递一直不到，我不要了"])[0]
    print(f"{answer.label} ({answer.score:.3f})")
    project.feedback(answer.id, "correction", "refund", source="Wang")

    again = project.turn()
    assert again.verdict is not None
    print("released" if again.verdict.released else "refused", *again.verdict.reasons)


if __name__ == "__main__":
    main()
