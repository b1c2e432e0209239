"""One training by several processes: what they are given, how they are started and heard.

accelerate's launcher starts `feilun.models.neural.worker` so many times. What is read is given
as safetensors and JSON, the weights as a checkpoint, and the first process tells on its standard
output, a line of JSON at a time. They meet in a file and speak over the loopback interface:
nothing listens where another machine could reach it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from feilun.core.errors import FeilunError, Invalid, shortened
from feilun.core.i18n import _, language
from feilun.core.part import find
from feilun.core.run import Run
from feilun.models.neural.batches import Shelf
from feilun.models.neural.checkpoint import Position
from feilun.models.neural.descent import LossNotFinite
from feilun.models.neural.examples import Examples
from feilun.models.neural.reading import Encoded, Frame, Reader
from feilun.models.neural.settings import Neural
from feilun.models.neural.training import Material, Training

GIVEN, MEETING, LAUNCHER = "given.safetensors", "meeting", "launcher.json"
ERRORS = "errors.txt"
MARK = "feilun "
"""What a line of the first process begins with; libraries may print others."""
GRACE = 10.0
"""Seconds for the processes to end when they are told to."""


class NoLauncher(Invalid):
    """accelerate, which starts several processes, is not installed."""

    def __init__(self, processes: int) -> None:
        super().__init__(
            _(
                "processes = {count} in [train] model needs accelerate, which is not installed "
                "here."
            ).format(count=processes),
            remedy="pip install 'feilun[train]'",
        )


class TooFewDevices(Invalid):
    """More processes than GPUs were asked for."""

    def __init__(self, processes: int, devices: int) -> None:
        super().__init__(
            _("processes is {count} in [train] model, and this machine has {has} GPUs.").format(
                count=processes, has=devices
            ),
            remedy=f"processes = {max(devices, 1)}",
        )


class ProcessEnded(FeilunError):
    """One of the processes that train together ended before its time."""

    def __init__(self, processes: int, reason: str) -> None:
        super().__init__(
            _(
                "One of the {count} processes that train together ended: {reason}. The last "
                "checkpoint is kept."
            ).format(count=processes, reason=shortened(reason, 200)),
            remedy=_("Run the same command again: it goes on from the checkpoint."),
        )


def check(settings: Neural, device: torch.device) -> None:
    """Raises `NoLauncher` or `TooFewDevices` where so many processes cannot be started."""
    if settings.processes == 1:
        return
    if find_spec("accelerate") is None:
        raise NoLauncher(settings.processes)
    if device.type == "cuda" and settings.processes > torch.cuda.device_count():
        raise TooFewDevices(settings.processes, torch.cuda.device_count())


def descend(training: Training, position: Position) -> Position:
    """Goes on from `position` until training is finished, in `settings.processes` processes, and
    brings the weights into `training`. Raises `ProcessEnded` and `LossNotFinite`."""
    settings, checkpoints = training.material.settings, training.checkpoints
    checkpoints.save(training.state, position)
    _give(training.material, training.run, checkpoints.folder)
    device = training.place.device
    # The processes need the room.
    training.network.to("cpu")
    if device.type == "cuda":
        torch.cuda.empty_cache()
    _launched(settings, checkpoints.folder, training.run)
    training.network.to(device)
    (checkpoints.folder / GIVEN).unlink()
    found = checkpoints.restore(training.state)
    if found is None or not found.finished:
        raise ProcessEnded(settings.processes, _("it left no result"))
    return found


def _give(material: Material, run: Run, folder: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    for name, shelf in (("train", material.train), ("validation", material.validation)):
        arrays[f"{name}.ids"] = shelf.examples.encoded.ids
        arrays[f"{name}.start"] = shelf.examples.encoded.start
        arrays[f"{name}.target"] = np.ascontiguousarray(shelf.examples.target)
    shelf, settings = material.train, material.settings
    frame = shelf.reader.frame
    reads = settings.reads()
    told = {
        "family": settings.use,
        "settings": settings.model_dump(mode="json"),
        "reads": None if reads is None else str(reads.absolute()),
        "labels": material.labels,
        "mean": material.mean,
        "spread": material.spread,
        "frame": {**frame._asdict(), "unknown": sorted(frame.unknown)},
        "max_length": shelf.reader.max_length,
        "tokenizer": shelf.reader.tokenizer.to_str(),
        "aim": shelf.examples.aim,
        "width": shelf.examples.width,
        "twin": shelf.twin,
        "seed": run.seed,
    }
    save_file(arrays, folder / GIVEN, metadata={"told": json.dumps(told)})


def given(folder: Path) -> tuple[Material, int]:
    """What `descend` gave, and the seed."""
    with safe_open(folder / GIVEN, framework="numpy") as file:
        told: dict[str, Any] = json.loads(file.metadata()["told"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    family = find("family", told["family"])
    assert issubclass(family, Neural)
    reads = told["reads"] and Path(told["reads"])
    settings = family.model_validate(told["settings"]).reading(reads)
    frame = {**told["frame"], "unknown": frozenset(told["frame"]["unknown"])}
    for side in ("before", "between", "after"):
        frame[side] = tuple(frame[side])
    reader = Reader(Tokenizer.from_str(told["tokenizer"]), Frame(**frame), told["max_length"])
    train, validation = (
        Shelf(
            reader,
            Examples(
                Encoded(arrays[f"{name}.ids"], arrays[f"{name}.start"]),
                arrays[f"{name}.target"],
                told["aim"],
                told["width"],
            ),
            told["twin"],
        )
        for name in ("train", "validation")
    )
    labels = tuple(told["labels"])
    material = Material(settings, labels, train, validation, told["mean"], told["spread"])
    return material, told["seed"]


def _launched(settings: Neural, folder: Path, run: Run) -> None:
    """Starts the processes, and tells `run` what the first of them says, until all have ended;
    whatever happens here, they end too."""
    (folder / MEETING).unlink(missing_ok=True)
    # Not what accelerate was set to for others on this machine.
    config = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "MULTI_GPU",
        "mixed_precision": "no",
        "machine_rank": 0,
        "num_machines": 1,
        "num_processes": settings.processes,
        "use_cpu": False,
        "debug": False,
    }
    (folder / LAUNCHER).write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(folder / LAUNCHER), "--multi_gpu"]
    command += ["--num_processes", str(settings.processes), "--main_process_port", "0"]
    command += ["--num_cpu_threads_per_process", str(threads(settings))]
    command += ["--rdzv_backend", "c10d", "--rdzv_conf", "store_type=file"]
    command += ["-m", "feilun.models.neural.worker", str(folder)]
    with (folder / ERRORS).open("w+", encoding="utf-8", errors="replace") as errors:
        started = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_surroundings(folder),
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        try:
            assert started.stdout is not None
            _hear(started.stdout, run)
            code = started.wait()
        finally:
            _end(started)
    if code:
        raise ProcessEnded(settings.processes, _reason((folder / ERRORS), code))


def _end(started: subprocess.Popen[str]) -> None:
    """Ends launcher and processes: those watch their standard input."""
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.close()
    if started.poll() is None:
        started.terminate()
        try:
            started.wait(GRACE)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
    started.stdout.close()


def _surroundings(folder: Path) -> dict[str, str]:
    local = loopback()
    mine = {
        "FEILUN_LANG": language(),
        # torch's launcher takes its other settings from here; accelerate's hands on only some.
        "PET_LOCAL_ADDR": "127.0.0.1",
        "PET_RDZV_ENDPOINT": str(folder / f"{MEETING}-of-launchers"),
        # Else it opens a store of its own on every interface.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    (folder / f"{MEETING}-of-launchers").unlink(missing_ok=True)
    if local is not None:
        mine |= {"GLOO_SOCKET_IFNAME": local, "NCCL_SOCKET_IFNAME": local}
    return {**os.environ, **mine}


def loopback() -> str | None:
    """The name of the interface that only this machine reaches; None where it has none."""
    try:
        names = [name for _index, name in socket.if_nameindex()]
    except (AttributeError, OSError):  # Windows before 3.8 had no such call
        return None
    return next((name for name in ("lo", "lo0") if name in names), None)


def threads(settings: Neural) -> int:
    """How many of the CPU's threads each process has."""
    assert settings.threads is not None
    return max(settings.threads // settings.processes, 1)


def _hear(lines: IO[str], run: Run) -> None:
    for line in lines:
        if not line.startswith(MARK):
            continue
        what, *values = json.loads(line[len(MARK) :])
        if what == "progress":
            run.progress(*values)
        elif what == "say":
            run.say(*values)
        elif what == "spend":
            run.spend(*values)
        elif what == "log":
            run.log(*values)
        elif what == "broke":
            raise LossNotFinite(*values)


def _reason(errors: Path, code: int) -> str:
    """What a process said last, or how it ended."""
    told = errors.read_text(encoding="utf-8", errors="replace")
    raised = re.findall(r"^(?:\[rank\d+\]: ?)?((?:\w+\.)*\w*(?:Error|Full)\b: .+)$", told, re.M)
    ends = re.findall(r"^ +rank +: (\d+).*\n +exitcode +: (-?\d+)", told, re.M)
    for rank, how in ends:
        # The launcher ends the others with SIGTERM.
        if int(how) < 0 and -int(how) != signal.SIGTERM:
            return _("number {rank} was ended by signal {signal}").format(
                rank=rank, signal=-int(how)
            )
    # The launcher's own error comes after that of the process.
    mine = [one for one in raised if "ChildFailedError" not in one]
    return str(mine[-1]) if mine else _("exit code {code}").format(code=code)
