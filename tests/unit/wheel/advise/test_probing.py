"""Processes that probe: what becomes of one that dies, or that does not end."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from feilun.core.artifacts import Dataset
from feilun.models.ngram import Ngram
from feilun.wheel.advise import probing
from feilun.wheel.advise.expecting import Outcome
from feilun.wheel.advise.probing import Probing, peak_memory_mb
from tests.unit.stages.scratch import scratch

ESTIMATED = (
    'print(\'{"family": {"architecture": "ngram"}, "seconds": 9.0, "work": 10, "passes": 1}\','
    " flush=True); "
)


def outcomes(tmp_path: Path, seconds: float, families: int = 1) -> list[Outcome]:
    dataset = Dataset(files={}, labels=("a", "b"), splits={}, num_raw=0, dropped={})
    made = Probing(scratch(tmp_path), dataset, "accuracy", 300.0, tmp_path / "blobs")
    return made.outcomes([({"architecture": "ngram"}, Ngram())] * families, seconds)


def test_a_process_that_dies_keeps_what_it_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "PROGRAM", ESTIMATED + "import sys; sys.exit(3)")
    found = outcomes(tmp_path, 20)[0]
    assert "exit code 3" in str(found.note)
    assert found.probed is not None
    assert (found.probed.seconds, found.probed.probes) == (9.0, ())


def test_a_process_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "PROGRAM", ESTIMATED + "import time; time.sleep(60)")
    begun = time.monotonic()
    found = outcomes(tmp_path, 2)[0]
    assert time.monotonic() - begun < 20
    assert "took longer than its time" in str(found.note)


def test_what_comes_after_the_time_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "PROGRAM", "import time; time.sleep(60)")
    first, second = outcomes(tmp_path, 1, families=2)
    assert "took longer" in str(first.note)
    assert "the time was up" in str(second.note)


def test_an_error_of_ours_is_the_reason(tmp_path: Path) -> None:
    # The dataset's files are not there.
    dataset = Dataset(
        files={"train.parquet": "0" * 64}, labels=("a",), splits={}, num_raw=0, dropped={}
    )
    made = Probing(scratch(tmp_path), dataset, "accuracy", 300.0, tmp_path / "blobs")
    found = made.outcomes([({"architecture": "ngram"}, Ngram())], 20)[0]
    assert str(found.note).startswith("not probed: ")
    assert found.probed is None


def test_the_memory_of_a_process_is_its_own() -> None:
    held = b"x" * 400_000_000
    assert peak_memory_mb() > 400
    program = "from feilun.wheel.advise.probing import *; print(peak_memory_mb())"
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    # Linux would hand the parent's peak on to it.
    assert 10 < float(told) < 400
    assert len(held) == 400_000_000
