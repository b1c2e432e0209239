"""One of the processes of a training: `python -m feilun.models.neural.worker FOLDER`."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import torch

from feilun.core.run import Run
from feilun.models.neural import fit, parallel
from feilun.models.neural.checkpoint import Checkpoints
from feilun.models.neural.descent import LossNotFinite, Place
from feilun.models.neural.device import pick_device, pick_precision, steady
from feilun.models.neural.network import Network
from feilun.models.neural.team import Crew
from feilun.models.neural.training import Training

if TYPE_CHECKING:
    import polars as pl

    from feilun.core.artifacts import Model


class Told(Run):
    """A run whose words go to the process that started this one; with `aloud` off, nowhere."""

    def __init__(self, folder: Path, seed: int, aloud: bool) -> None:
        self.root = self.folder = folder
        self.seed, self.aloud = seed, aloud

    def tell(self, *words: object) -> None:
        """One line."""
        if self.aloud:
            print(parallel.MARK + json.dumps(words), flush=True)

    def within(self, name: str) -> Run:
        return self

    def progress(self, done: float, total: float, what: str = "") -> None:
        self.tell("progress", done, total, what)

    def say(self, message: str) -> None:
        self.tell("say", message)

    def spend(self, amount: float, what: str) -> None:
        self.tell("spend", amount, what)

    def log(self, metric: str, value: float, step: int = 0) -> None:
        self.tell("log", metric, value, step)

    def drop(self, frame: pl.DataFrame, step: str, reason: str) -> None:
        self._not_here()

    def dropped(self) -> pl.DataFrame:
        self._not_here()

    def keep(self, content: bytes | Path) -> str:
        self._not_here()

    def file(self, digest: str) -> Path:
        self._not_here()

    def unpack(self, model: Model) -> Path:
        self._not_here()

    def _not_here(self) -> NoReturn:
        raise AssertionError("training asks for nothing that is stored")


def work(folder: Path) -> None:
    """This process's share of the training that `parallel.descend` wrote into `folder`."""
    material, seed = parallel.given(folder)
    settings, reader = material.settings, material.train.reader
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = pick_device(settings.device)
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    crew = Crew(rank, size, seed, folder / parallel.MEETING, backend)
    run = Told(folder, seed, crew.leads)
    place = Place(device, pick_precision(settings.precision, device))
    with steady(parallel.threads(settings), seed, device):
        encoder = settings.encoder(reader.vocabulary, reader.frame.pad, fit.head_read(material))
        network = Network(encoder, fit.head(material, encoder.width)).to(device)
        training = Training(material, network, Checkpoints(folder), place, run)
        training.team = crew
        position = training.checkpoints.restore(training.state)
        assert position is not None
        # Nobody replaces the checkpoint before all have read it.
        crew.wait()
        try:
            training.descend(position)
        except LossNotFinite as error:
            run.tell("broke", error.step, error.rate)
            raise
        crew.wait()
    crew.part_company()


def _end_with_the_parent() -> None:
    # Not sys.stdin: the interpreter cannot end while a thread holds its lock.
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    work(Path(sys.argv[1]))
