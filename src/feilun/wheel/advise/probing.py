"""Each family is probed in a process of its own: its memory is its own, it can be ended when its
time is up, and what it loads (torch) is gone with it.
"""

from __future__ import annotations

import time
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

from feilun.core.artifacts import Dataset, Interval
from feilun.core.i18n import N_
from feilun.core.message import Message
from feilun.economics.meter import peak_rss_mb
from feilun.models import Architecture, Family
from feilun.stages.train import lesson_of
from feilun.stages.train.advise.probe import Probe, Probed, Prober, Served
from feilun.store import Blobs
from feilun.wheel.advise.expecting import Outcome
from feilun.wheel.child import Child, Tell, Told, live
from feilun.wheel.runner import LocalRun, Silent

PROGRAM = "from feilun.wheel.advise.probing import main; main()"
KEPT_BACK, ESTIMATE_SECONDS = 2.0, 10.0
"""Kept back for every family still to come, and what it may take at most to start, load torch
and estimate: then it is told how long it would train, if no more."""
SHARE = 0.6
"""Of what is free, what one family may take for its probes while others are to come."""
PATIENCE = 0.5
"""By how much of its time a family may exceed it before its process is ended."""
_STATUS = Path("/proc/self/status")


class Probing:
    """Probes families one after the other within `seconds` in all."""

    def __init__(
        self, run: LocalRun, dataset: Dataset, metric: str, budget_seconds: float, blobs: Path
    ) -> None:
        self._run, self._dataset, self._metric = run, dataset, metric
        self._budget_seconds, self._blobs = budget_seconds, blobs

    def outcomes(
        self, families: list[tuple[dict[str, Any], Family]], seconds: float
    ) -> list[Outcome]:
        """What came of each (`[train] model`, family)."""
        end = time.monotonic() + seconds
        found = []
        for number, (model, family) in enumerate(families):
            self._run.progress(number, len(families), family.use)
            free = end - time.monotonic()
            later = len(families) - number - 1
            granted = (free - later * KEPT_BACK) * (SHARE if later else 1.0)
            if free <= 0:
                note = Message(template=N_("not probed: the time was up; more: --seconds"))
                found.append(Outcome(family.use, model, None, note))
                continue
            found.append(self._outcome(model, family, max(granted, 0.0), free))
        self._run.progress(len(families), len(families))
        return found

    def _outcome(
        self, model: dict[str, Any], family: Family, granted: float, free: float
    ) -> Outcome:
        told: Told = SimpleQueue()
        process = self._started(family, granted, told)
        probed: Probed | None = None
        note: Message | None = None
        patience = time.monotonic() + max(granted, min(ESTIMATE_SECONDS, free)) * (1 + PATIENCE)
        try:
            while (said := told.get(timeout=max(patience - time.monotonic(), 0.01))) is not None:
                if "error" in said:
                    note = Message(
                        template=N_("not probed: {reason}"), values={"reason": said["error"]}
                    )
                elif "probe" in said:
                    assert probed is not None
                    probed = probed._replace(probes=(*probed.probes, _probe(said["probe"])))
                else:
                    probed = _merged(probed, said)
            if (code := process.wait()) and note is None:
                template = N_("its probe ended by itself (exit code {code})")
                note = Message(template=template, values={"code": code})
        except Empty:
            note = Message(template=N_("its probe was ended: it took longer than its time"))
        finally:
            process.kill()
        if note is None and probed is not None and not probed.probes:
            note = Message(
                template=N_(
                    "not probed: a probe would not fit its {seconds:.0f} s; more: --seconds"
                ),
                values={"seconds": granted},
            )
        return Outcome(family.use, model, probed, note)

    def _started(self, family: Family, granted: float, told: Told) -> Child:
        setup = {
            "family": family.model_dump(mode="json"),
            "dataset": self._dataset.model_dump(mode="json"),
            "metric": self._metric,
            "budget_seconds": self._budget_seconds,
            "until": time.time() + granted,
            "seed": self._run.seed,
            "root": str(self._run.root),
            "folder": str(self._run.folder / family.use),
            "blobs": str(self._blobs),
        }
        return Child(PROGRAM, setup, told, {})


def _merged(probed: Probed | None, said: dict[str, Any]) -> Probed:
    if probed is None:
        family = cast(Family, Architecture.model_validate(said["family"]))
        return Probed(family, said["seconds"], said["work"], said["passes"])
    served = Served(*said["served"]) if said["served"] else None
    return probed._replace(served=served, memory_mb=said["memory_mb"])


def _probe(said: dict[str, Any]) -> Probe:
    per_label = {label: (recall, f1) for label, (recall, f1) in said["per_label"].items()}
    return Probe(**{**said, "quality": Interval(*said["quality"]), "per_label": per_label})


class _Passes(Silent):
    """Counts the passes of a training: networks log what they found on validation after each."""

    def __init__(self) -> None:
        self.made = 0

    def logged(self, stage: str, metric: str, value: float, step: int) -> None:
        self.made += metric == "validation_loss"

    def taken(self) -> int:
        """Those since it was last asked."""
        made, self.made = self.made, 0
        return made


def work(setup: dict[str, Any], tell: Tell) -> None:
    """What one process does: estimate, probe until its time is up, tell."""
    watching = _Passes()
    run = LocalRun(
        "train",
        seed=setup["seed"],
        root=Path(setup["root"]),
        folder=Path(setup["folder"]),
        blobs=Blobs(Path(setup["blobs"])),
        observer=watching,
    )
    until = time.perf_counter() + setup["until"] - time.time()
    lesson = lesson_of(Dataset.model_validate(setup["dataset"]), run)
    family = cast(Family, Architecture.model_validate(setup["family"]))
    prober = Prober(family, lesson, setup["metric"], run.seed, passes=watching.taken)
    known = prober.estimate(setup["budget_seconds"], run.within("estimate"))
    watching.taken()
    tell(
        {
            "family": known.family.model_dump(mode="json"),
            "seconds": known.seconds,
            "work": known.work,
            "passes": known.passes,
        }
    )
    probed = prober.probe(known, until, run, lambda one: tell({"probe": one._asdict()}))
    if probed.probes:
        tell({"served": probed.served, "memory_mb": peak_memory_mb()})


def peak_memory_mb() -> float:
    """This process's largest resident set so far, in MB. Linux hands a parent's on to the
    processes it starts; what is read here is the process's own."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return peak_rss_mb()
    found = dict(line.split(":", 1) for line in lines if ":" in line)
    kilobytes = found.get("VmHWM", "").split()
    return int(kilobytes[0]) * 1024 / 1e6 if kilobytes else peak_rss_mb()


def main() -> None:
    """A process that probes one family."""
    live(work)
