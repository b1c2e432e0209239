"""Runs a stage here, in this process, unless its result is already there.

The fingerprint of a run is the digest of the stage's settings, the digests of its inputs, the
seed, the version of our code and the files of the parts that are not ours. An artifact made under
the same fingerprint is reused; so a killed turn goes on where it was, and an unchanged stage costs
nothing.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from pydantic import BaseModel

from feilun.core.artifacts import Artifact, Cost, Model
from feilun.core.run import Run
from feilun.core.stage import Stage
from feilun.economics import Meter
from feilun.models import Architecture
from feilun.store import Blobs, Control
from feilun.store.blobs import sha256_of
from feilun.version import code_version
from feilun.wheel import curves, faults

if TYPE_CHECKING:
    import polars as pl

Given = TypeVar("Given")
Made = TypeVar("Made")
A = TypeVar("A", bound=Artifact)


class Observer(Protocol):
    """Who watches a turn; every method may be called from the training thread."""

    def stage_began(self, stage: str) -> None:
        """The stage begins."""

    def progressed(self, stage: str, done: float, total: float, what: str) -> None:
        """`done` of `total` is done."""

    def said(self, stage: str, message: str) -> None:
        """One sentence for people."""

    def logged(self, stage: str, metric: str, value: float, step: int) -> None:
        """One figure of the work, such as a loss at a step."""

    def stage_ended(self, stage: str, made: object, cost: Cost, reused: bool) -> None:
        """The stage has made (or found) its artifact."""


class Silent:
    """An observer that looks away."""

    def stage_began(self, stage: str) -> None:
        """Nothing."""

    def progressed(self, stage: str, done: float, total: float, what: str) -> None:
        """Nothing."""

    def said(self, stage: str, message: str) -> None:
        """Nothing."""

    def logged(self, stage: str, metric: str, value: float, step: int) -> None:
        """Nothing."""

    def stage_ended(self, stage: str, made: object, cost: Cost, reused: bool) -> None:
        """Nothing."""


class LocalRun(Run):
    """The handle of a stage that runs in this process."""

    def __init__(
        self,
        stage: str,
        *,
        seed: int,
        root: Path,
        folder: Path,
        blobs: Blobs,
        keep_in: Blobs | None = None,
        observer: Observer | None = None,
        meter: Meter | None = None,
    ) -> None:
        self.stage = stage
        self.seed = seed
        self.root = root
        self.folder = folder
        self._blobs = blobs
        self._keep_in = keep_in or blobs
        self._observer = observer or Silent()
        self._meter = meter or Meter()
        self._dropped: list[pl.DataFrame] = []
        folder.mkdir(parents=True, exist_ok=True)

    def within(self, name: str) -> LocalRun:
        return LocalRun(
            self.stage,
            seed=self.seed,
            root=self.root,
            folder=self.folder / name,
            blobs=self._blobs,
            keep_in=self._keep_in,
            observer=self._observer,
            meter=self._meter,
        )

    def progress(self, done: float, total: float, what: str = "") -> None:
        self._observer.progressed(self.stage, done, total, what)
        faults.point(self.stage, "progress")

    def say(self, message: str) -> None:
        self._observer.said(self.stage, message)

    def drop(self, frame: pl.DataFrame, step: str, reason: str) -> None:
        from feilun.core.records import as_dropped

        if frame.height:
            self._dropped.append(as_dropped(frame, step, reason))

    def dropped(self) -> pl.DataFrame:
        import polars as pl

        from feilun.core.records import DROPPED

        return pl.concat([pl.DataFrame(schema=DROPPED), *self._dropped])

    def spend(self, amount: float, what: str) -> None:
        self._meter.add(amount, what)

    def log(self, metric: str, value: float, step: int = 0) -> None:
        with (self.folder / curves.LOG).open("a", encoding="utf-8") as target:
            target.write(json.dumps({"metric": metric, "value": value, "step": step}) + "\n")
        self._observer.logged(self.stage, metric, value, step)

    def keep(self, content: bytes | Path) -> str:
        return self._keep_in.put(content)

    def file(self, digest: str) -> Path:
        return self._blobs.get(digest)

    def unpack(self, model: Model) -> Path:
        return self._blobs.unpack(model.files, self.folder / f"model-{model.short}")


class Runner:
    """Runs the stages of one project."""

    def __init__(
        self,
        control: Control,
        blobs: Blobs,
        root: Path,
        work: Path,
        seed: int,
        observer: Observer,
        grams_per_kwh: float | None = None,
    ) -> None:
        self._control = control
        self._blobs = blobs
        self._root = root
        self._work = work
        self._seed = seed
        self._observer = observer
        self._grams_per_kwh = grams_per_kwh

    def make(self, stage: Stage[Given, A], given: Given, turn: int) -> A:
        """The stage's artifact, made now or found, and the step written down."""
        self._observer.stage_began(stage.use)
        faults.point(stage.use, "begin")
        inputs = {**stage.inputs(given, self._root), "seed": str(self._seed)}
        mark = fingerprint(stage, inputs)
        earlier = self._control.made(mark)
        reused = earlier is not None
        if earlier is not None:
            made, cost = cast(A, earlier), Cost()
        else:
            made, cost = self._run(stage, given, inputs, mark)
        self._control.end_step(turn, stage.use, made.digest, reused=reused, cost=cost)
        faults.point(stage.use, "committed")
        self._observer.stage_ended(stage.use, made, cost, reused)
        return made

    def say(self, stage: str, message: str) -> None:
        """Tells whoever watches one finished sentence about a stage."""
        self._observer.said(stage, message)

    def judge(self, stage: Stage[Given, Made], given: Given, turn: int) -> Made:
        """What a stage that makes no artifact (the gate) says; it is asked every time."""
        self._observer.stage_began(stage.use)
        faults.point(stage.use, "begin")
        with Meter(self._grams_per_kwh) as meter:
            run = self._handle(stage.use, f"{stage.use}-now", meter)
            made = stage.run(given, run)
        faults.point(stage.use, "made")
        self._control.end_step(turn, stage.use, None, reused=False, cost=meter.cost())
        faults.point(stage.use, "committed")
        self._observer.stage_ended(stage.use, made, meter.cost(), False)
        return made

    def _run(
        self, stage: Stage[Given, A], given: Given, inputs: dict[str, str], mark: str
    ) -> tuple[A, Cost]:
        folder = f"{stage.use}-{mark[:16]}"
        with Meter(self._grams_per_kwh) as meter:
            made = stage.run(given, self._handle(stage.use, folder, meter))
        faults.point(stage.use, "made")
        self._control.put(
            made,
            stage=stage.use,
            inputs=inputs,
            cost=meter.cost(),
            code=code_version(),
            fingerprint=mark,
        )
        if isinstance(made, Model):
            curves.keep(self._work / folder, made, self._work.parent)
        shutil.rmtree(self._work / folder, ignore_errors=True)
        return made, meter.cost()

    def _handle(self, stage: str, folder: str, meter: Meter) -> LocalRun:
        return LocalRun(
            stage,
            seed=self._seed,
            root=self._root,
            folder=self._work / folder,
            blobs=self._blobs,
            observer=self._observer,
            meter=meter,
        )


def fingerprint(stage: Stage[Any, Any], inputs: dict[str, str]) -> str:
    """The name of one piece of work, 64 hex digits: settings, inputs, seed, code."""
    content = {
        "stage": stage.model_dump(mode="json"),
        "inputs": inputs,
        "code": code_version(),
        "parts": _foreign_code(stage),
    }
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _foreign_code(part: BaseModel) -> dict[str, str]:
    """The digest of the file of every part below `part` (and itself) that is not ours; `part` may
    be a table of settings that holds parts."""
    found: dict[str, str] = {}
    module = type(part).__module__
    if module.partition(".")[0] != "feilun":
        source = inspect.getsourcefile(type(part))
        found[module] = sha256_of(Path(source)) if source else ""
    below = [getattr(part, name) for name in type(part).model_fields]
    if isinstance(part, Architecture):
        below.append([family for family in part.candidates() if family is not part])
    for value in below:
        for inner in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(inner, BaseModel):
                found |= _foreign_code(inner)
    return found
