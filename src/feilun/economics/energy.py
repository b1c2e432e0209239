"""Energy: what counters of the machine say, else an assumption that is called one.

Counters: Linux's powercap (RAPL: the processors' packages), which only root can read on many
systems, and NVIDIA's own, by its management library if that is installed. They count the whole
machine, whoever keeps it busy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

POWERCAP = Path("/sys/class/powercap")
WATTS_PER_CORE = 10.0
"""Assumed of a busy core where no counter can be read: a server's 100 to 300 W by 16 to 32 cores
give 5 to 15, a desktop's 65 W by 6 cores 11. It is an assumption, and is called one."""
_MICROJOULES_PER_WH = 3.6e9


class Energy(NamedTuple):
    """`wh` in watt-hours; `measured` says whether counters were read or it is an assumption."""

    wh: float
    measured: bool


class Counters:
    """What the machine's counters have counted since this was made."""

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._packages = list(_packages(powercap))
        self._from = {path: _read(path / "energy_uj") for path in self._packages}
        # Some cards do not count, and some counters may be listed but not read.
        self._gpus = [gpu for gpu in _gpus() if _gpu_microjoules(gpu) is not None]
        self._gpu_from = [_gpu_microjoules(gpu) or 0.0 for gpu in self._gpus]

    def energy(self, cpu_seconds: float) -> Energy:
        """Since this was made; without processor counters `cpu_seconds` at `WATTS_PER_CORE`
        stand for the processors."""
        used = sum(
            now - before
            for gpu, before in zip(self._gpus, self._gpu_from, strict=True)
            if (now := _gpu_microjoules(gpu)) is not None and now >= before
        )
        try:
            counted = self._of_packages()
        except (OSError, ValueError):
            counted = None
        if counted is None:
            return Energy(used / _MICROJOULES_PER_WH + cpu_seconds * WATTS_PER_CORE / 3600, False)
        return Energy((used + counted) / _MICROJOULES_PER_WH, True)

    def _of_packages(self) -> float | None:
        """Microjoules of the processors; None where nothing counts them."""
        used = 0.0
        for path in self._packages:
            now, before = _read(path / "energy_uj"), self._from[path]
            # The counter starts anew at its end; a long run may pass it more than once unseen.
            used += (
                now - before
                if now >= before
                else now - before + _read(path / "max_energy_range_uj")
            )
        return used if self._packages else None


def _packages(powercap: Path) -> Iterator[Path]:
    """The readable counters of whole packages: `intel-rapl:0`, not the parts below it."""
    for path in sorted(powercap.glob("*-rapl:*")):
        with contextlib.suppress(OSError, ValueError):
            if path.name.count(":") == 1 and _read(path / "energy_uj") >= 0:
                yield path


def _read(path: Path) -> float:
    return float(path.read_text())


def _gpus() -> list[Any]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        return [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []


def _gpu_microjoules(gpu: Any) -> float | None:
    """What the card has used since its driver was loaded; None where it does not count."""
    import pynvml

    try:
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)) * 1000
    except pynvml.NVMLError:
        return None
