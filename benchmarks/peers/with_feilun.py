"""The whole prepare by the stage itself, of records that `root` has in its store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loop import answer

from feilun.core.artifacts import Records
from feilun.stages.prepare import Prepare, PrepareGiven
from feilun.store import Blobs
from feilun.wheel.runner import LocalRun


def prepare(root: str, records: dict[str, str], num_rows: int, stage: Any) -> dict[str, Any]:
    """Runs the stage; answers with the stored files of each split and its counts."""
    folder = Path(root)
    run = LocalRun(
        "prepare", seed=7, root=folder, folder=folder / "scratch", blobs=Blobs(folder / "blobs")
    )
    given = PrepareGiven(Records(files=records, num_rows=num_rows), ())
    made = Prepare.model_validate(stage).run(given, run)
    return {
        "files": made.files,
        "splits": made.splits,
        "dropped": made.dropped,
        "found": made.found,
    }


if __name__ == "__main__":
    answer(prepare)
