"""The handle that a stage gets: where to work, what to say, what to keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from feilun.core.artifacts import Model


class Run(ABC):
    """One execution of one stage.

    `seed` fixes every random choice. `root` is the project's folder, against which relative
    paths in `feilun.toml` are read. `folder` is this execution's own scratch folder: it
    survives a kill, so what a stage finds there is what its killed predecessor had finished.
    """

    seed: int
    root: Path
    folder: Path

    @abstractmethod
    def within(self, name: str) -> Run:
        """The same run for one part of its work, with a folder of its own below `folder`."""

    @abstractmethod
    def progress(self, done: float, total: float, what: str = "") -> None:
        """Tells whoever watches that `done` of `total` is done."""

    @abstractmethod
    def say(self, message: str) -> None:
        """Tells whoever watches one finished sentence (already translated)."""

    @abstractmethod
    def drop(self, frame: pl.DataFrame, step: str, reason: str) -> None:
        """Keeps the records of `frame` (columns `id`, `text`, `label`, `source`, `row`) as
        dropped by `step` for `reason`, so that they can be asked for."""

    @abstractmethod
    def dropped(self) -> pl.DataFrame:
        """Every record dropped in this run, with the columns `step` and `reason`."""

    @abstractmethod
    def spend(self, amount: float, what: str) -> None:
        """Adds `amount` of `what` (`records`, `tokens`, `cny`…) to this run's cost."""

    @abstractmethod
    def log(self, metric: str, value: float, step: int = 0) -> None:
        """Keeps one figure of this run, such as a loss at a step."""

    @abstractmethod
    def keep(self, content: bytes | Path) -> str:
        """Stores bytes, or the file at a path, for good; returns their sha256 in hex."""

    @abstractmethod
    def file(self, digest: str) -> Path:
        """The path of stored bytes, after checking them; raises `DamagedBlob`."""

    @abstractmethod
    def unpack(self, model: Model) -> Path:
        """A folder with the files of `model` under their names, each checked."""
