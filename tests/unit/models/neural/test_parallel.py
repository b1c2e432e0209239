"""One training by several processes: the same model, whatever happens to one of them."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tests.tiny_encoders import tiny
from tests.unit.models.neural import lessons
from tests.unit.models.neural.lessons import TINY, Bench
from tests.unit.models.neural.test_training import training

from feilun.models.hub import Hub
from feilun.models.neural import parallel
from feilun.models.neural.checkpoint import Position
from feilun.models.neural.descent import LossNotFinite
from feilun.models.neural.team import ALONE, Crew
from feilun.models.transformer import Transformer

LITTLE: dict[str, Any] = {
    **TINY, "layers": 1, "width": 32, "heads": 2, "epochs": 3, "learning_rate": 4e-3,
    "threads": 2, "accumulate": 2, "initializer": "xavier",
}  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")


class Watched(Bench):
    """A run that does something once training has come to a step."""

    def __init__(self, folder: Path, step: int, then: Callable[[], None]) -> None:
        super().__init__(folder)
        self.step, self.then = step, then

    def progress(self, done: float, total: float, what: str = "") -> None:
        super().progress(done, total, what)
        if done == self.step and "epoch" in what:
            self.then()


def trained(where: Path, run: Bench | None = None, **settings: Any) -> tuple[Path, Bench]:
    folder, run = where / "model", run or Bench(where / "run")
    folder.mkdir(parents=True, exist_ok=True)
    Transformer(**{**LITTLE, **settings}).fit(lessons.lesson("classify", 90), folder, run)
    return folder, run


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def workers(where: Path) -> list[int]:
    """The processes of a training below `where`, by number."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            surroundings = (process / "environ").read_bytes().split(b"\0")
        except (OSError, NotADirectoryError):
            continue
        if any(word.startswith(str(where).encode()) for word in words):
            rank = [one[5:] for one in surroundings if one.startswith(b"RANK=")]
            if rank and b"feilun.models.neural.worker" in words:
                found.append((int(rank[0]), int(process.name)))
    return [number for _rank, number in sorted(found)]


def reachable(numbers: list[int]) -> list[str]:
    """The addresses, as in /proc/net, on which processes listen for other machines."""
    mine = set()
    for number in numbers:
        for entry in Path(f"/proc/{number}/fd").iterdir():
            target = str(entry.readlink())
            if target.startswith("socket:["):
                mine.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in mine and not fields[1].startswith("0100007F"):
                found.append(fields[1])
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bench, list[str], int]:
    where = tmp_path_factory.mktemp("parallel")
    seen: list[str] = []
    counts: list[int] = []

    def look() -> None:
        numbers = workers(where)
        counts.append(len(numbers))
        parents = {_parent(number) for number in numbers}
        seen.extend(reachable([*numbers, *parents]))

    folder, run = trained(where, Watched(where / "run", 5, look), processes=2)
    return folder, run, seen, counts[0]


def _parent(number: int) -> int:
    return int(Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_two_processes_share_the_work_and_tell_of_it(
    model: tuple[Path, Bench, list[str], int],
) -> None:
    folder, run, reached, count = model
    data = lessons.classify(40, 9)
    assert count == 2
    assert reached == []
    assert lessons.answered("classify", Transformer.load(folder), data) > 0.9
    assert {name for name, _value, _step in run.logged} == {
        "loss", "tokens_per_second", "validation_loss", "validation_accuracy",
    }  # fmt: skip
    told = [done for done, _total, what in run.progressed if "epoch" in what]
    assert told == list(range(1, 37))
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "config.json", "feilun.json", "model.onnx", "model.safetensors",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["classify", pytest.param("tag", marks=pytest.mark.slow)])
def test_the_model_is_that_of_one_process(name: str, tmp_path: Path) -> None:
    more = {**LITTLE, "dropout": 0.0, "optimizer": "momentum", "learning_rate": 0.05}
    more |= {"class_weight": "balanced", "epochs": 2, "batch_size": 16}
    runs = []
    for processes in (1, 2):
        run, folder = Bench(tmp_path / f"run{processes}"), tmp_path / f"model{processes}"
        folder.mkdir()
        # 33 rows: the last batch has one, and one process nothing to do.
        family = Transformer(**more, processes=processes)
        family.fit(lessons.lesson(name, 33), folder, run)
        runs.append((load_file(folder / "model.safetensors"), run))
    (one, alone), (two, together) = runs
    for key, value in one.items():
        np.testing.assert_allclose(two[key], value, atol=2e-5, rtol=1e-3, err_msg=key)
    assert together.spent == alone.spent
    losses = [
        [value for metric, value, _step in run.logged if metric == "loss"]
        for run in (alone, together)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_a_killed_process_ends_all_and_training_goes_on_to_the_same_bytes(
    model: tuple[Path, Bench, list[str], int], tmp_path: Path
) -> None:
    run = Watched(tmp_path / "run", 30, lambda: os.kill(workers(tmp_path)[1], signal.SIGKILL))
    with pytest.raises(parallel.ProcessEnded, match="signal 9"):
        trained(tmp_path, run, processes=2)
    assert not workers(tmp_path)
    assert list(tmp_path.glob("run/*/latest.safetensors"))
    assert not list((tmp_path / "model").iterdir())
    again, bench = trained(tmp_path, processes=2)
    assert any("step 24" in said for said in bench.said)
    assert digests(again) == digests(model[0])


SCRIPT = textwrap.dedent("""
    import sys
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from tests.unit.models.neural import test_parallel as t
    t.trained(Path(sys.argv[1]), t.Watched(Path(sys.argv[1]) / "run", 3,
        lambda: print("training", flush=True)), processes=2, epochs=900, patience=900)
""").format(here=str(Path(__file__).parents[4]))


@pytest.mark.slow
def test_the_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "training\n"
        assert len(workers(tmp_path)) == 2
        started.kill()
    end = time.monotonic() + 20
    while workers(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert not workers(tmp_path)


def test_a_loss_that_is_no_number_is_told_as_such(tmp_path: Path) -> None:
    made = training(tmp_path, processes=2)
    with torch.no_grad():
        made.network.head.linear.bias.fill_(float("nan"))
    with pytest.raises(LossNotFinite) as raised:
        parallel.descend(made, Position(step=3))
    assert raised.value.step == 3
    assert raised.value.rate == made.rate


@pytest.mark.slow
def test_a_pretrained_encoder_is_finetuned_by_two(tmp_path: Path) -> None:
    encoder = tiny(tmp_path / "encoder")
    run, folder = Bench(tmp_path / "run"), tmp_path / "model"
    folder.mkdir()
    family = Hub(
        name=str(encoder), epochs=1, threads=1, tuning="lora", learning_rate=1e-3, processes=2
    )
    family.fit(lessons.lesson("match", 20), folder, run)
    assert np.isfinite(Hub.load(folder).scores([("去北京", "北京好玩")])).all()


def test_every_row_is_one_processs() -> None:
    rows = np.arange(11)
    whole = ALONE.parts(rows, 3)
    assert np.array_equal(np.concatenate(whole), rows)
    assert [len(part) for part in whole] == [4, 4, 3]
    assert ALONE.parts(rows[:0], 3) == []
    crews = []
    for rank in range(3):
        crew = Crew.__new__(Crew)
        crew.rank, crew.size = rank, 3
        crews.append(crew)
    shared = [np.concatenate(crew.parts(rows, 2)) for crew in crews]
    assert sorted(np.concatenate(shared).tolist()) == rows.tolist()
    assert crews[2].parts(rows[:2], 2) == []


def test_what_cannot_be_started_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = Transformer(**LITTLE, processes=3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(parallel.TooFewDevices, match=r"3.*2 GPUs"):
        parallel.check(family, torch.device("cuda"))
    parallel.check(family, torch.device("cpu"))
    monkeypatch.setattr(parallel, "find_spec", lambda name: None)
    with pytest.raises(parallel.NoLauncher, match="accelerate"):
        trained(tmp_path, processes=2)
    parallel.check(Transformer(**LITTLE), torch.device("cpu"))


def test_only_this_machine_reaches_the_loopback_interface() -> None:
    assert parallel.loopback() in {name for _index, name in socket.if_nameindex()}


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("[rank1]: torch.OutOfMemoryError: CUDA out of memory.\n", "CUDA out of memory"),
        ("feilun.core.errors.DiskFull: No space left to write x\n", "No space left"),
        ("ValueError: first\nValueError: second\n  rank      : 1 (x)\n  exitcode  : 1\n", "second"),
        ("  rank      : 1 (local_rank: 1)\n  exitcode  : -9 (pid: 7)\n", "1 .*signal 9"),
        ("  rank      : 0 (local_rank: 0)\n  exitcode  : -15 (pid: 7)\n", "exit code 1"),
        ("torch.distributed.x.ChildFailedError: \n", "exit code 1"),
        ("", "exit code 1"),
    ],
)
def test_why_a_process_ended_is_told(written: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "errors.txt").write_text(written)
    reason = parallel._reason(tmp_path / "errors.txt", 1)
    assert re.search(told, reason)
    error = parallel.ProcessEnded(2, reason)
    assert "checkpoint" in str(error)
