"""What a killed training goes on from: one file, replaced in one rename.

A checkpoint is a safetensors file with the weights, what the optimizer keeps of each of them,
and torch's random state; its header holds the position as JSON. The best weights so far are a
file of their own, named by their epoch, which the position refers to: it is on the disk before
the position that names it, and the one before it goes afterwards.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from feilun.core.errors import disk_error
from feilun.models.neural.network import Network

LATEST = "latest.safetensors"


class Position(BaseModel):
    """Where training stands: the next batch, the best epoch so far, what came before.

    `epoch` and `batch` count from 0 and name the next batch to train on; `best_loss` is the
    calibrated validation loss of `best_epoch` (−1: none yet).
    """

    # Before the first validation the best loss is infinite, which JSON has no word for.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_epoch: int = -1
    best_loss: float = float("inf")
    waited: int = 0
    finished: bool = False


class State(NamedTuple):
    """What training changes besides its position."""

    network: Network
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device


class Checkpoints:
    """The checkpoints of one training, in `folder`, which only this training uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, state: State, position: Position) -> None:
        """Replaces the latest checkpoint; a full disk raises `DiskFull` and keeps the old."""
        trained = state.network.trained()
        tensors = {f"model.{name}": value.detach() for name, value in trained.items()}
        for name, parameter in trained.items():
            for key, value in state.optimizer.state[parameter].items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer.{key}.{name}"] = value
        tensors["random.cpu"] = torch.get_rng_state()
        if state.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(state.device)
        scaler = json.dumps(state.scaler.state_dict())
        header = {"position": position.model_dump_json(), "scaler": scaler}
        self._write(LATEST, tensors, header)

    def restore(self, state: State) -> Position | None:
        """Puts the latest checkpoint into `state`; None where there is none that can be read.

        Values are copied into the memory that torch allocated: results depend on its alignment.
        """
        path = self.folder / LATEST
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata()
                position = Position.model_validate_json(header["position"])
                scaler = json.loads(header["scaler"])
                if position.best_epoch >= 0 and not self._best(position.best_epoch).exists():
                    return None
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None
        if not self._fits(found, state.network):
            return None
        trained = state.network.trained()
        with torch.no_grad():
            for name, parameter in trained.items():
                parameter.copy_(found[f"model.{name}"])
            for name, value in found.items():
                part, _dot, rest = name.partition(".")
                if part == "optimizer":
                    key, _dot, whose = rest.partition(".")
                    kept = torch.empty_like(value, device=state.device).copy_(value)
                    state.optimizer.state[trained[whose]][key] = kept
        state.scaler.load_state_dict(scaler)
        torch.set_rng_state(found["random.cpu"].clone())
        if "random.cuda" in found:
            torch.cuda.set_rng_state(found["random.cuda"].clone(), state.device)
        return position

    def save_best(self, network: Network, epoch: int) -> None:
        """Keeps the weights as those of the best epoch; call `save` with that epoch next."""
        tensors = {name: value.detach() for name, value in network.trained().items()}
        self._write(self._best(epoch).name, tensors, {"format": "pt"})

    def forget_all_but(self, epoch: int) -> None:
        """Removes the weights of epochs that were the best before `epoch`."""
        for path in self.folder.glob("best-*.safetensors"):
            if path != self._best(epoch):
                path.unlink(missing_ok=True)

    def restore_best(self, network: Network, epoch: int) -> None:
        """Puts the weights of `epoch` into `network`."""
        with safe_open(self._best(epoch), framework="pt") as file, torch.no_grad():
            for name, parameter in network.trained().items():
                parameter.copy_(file.get_tensor(name))

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.safetensors"

    @staticmethod
    def _fits(found: dict[str, Tensor], network: Network) -> bool:
        return "random.cpu" in found and all(
            f"model.{name}" in found and found[f"model.{name}"].shape == value.shape
            for name, value in network.trained().items()
        )

    def _write(self, name: str, tensors: dict[str, Tensor], header: dict[str, str]) -> None:
        target, part = self.folder / name, self.folder / f"{name}.part"
        try:
            on_cpu = {key: value.contiguous().cpu() for key, value in tensors.items()}
            save_file(on_cpu, part, metadata=header)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            part.replace(target)
        except (OSError, SafetensorError) as error:
            part.unlink(missing_ok=True)
            known = disk_error(error, target) if isinstance(error, OSError) else None
            if known is not None:
                raise known from error
            raise


def describe(content: object) -> str:
    """Canonical JSON, for naming a training by all that decides its outcome."""
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
