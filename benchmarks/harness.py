"""What every benchmark shares: arguments, paired timing, the machine, the one line of JSON."""

from __future__ import annotations

import argparse
import datetime
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from feilun.store import Blobs
from feilun.wheel.runner import LocalRun

RESULTS = Path(__file__).parent / "results"
PAIRS = 5


def arguments(description: str) -> argparse.Namespace:
    """`quick`, `save` and `pairs`, from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="less work: three minutes at most")
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="paired runs (at least 5)")
    chosen = parser.parse_args()
    if chosen.pairs < PAIRS:
        parser.error(f"--pairs is at least {PAIRS}")
    return chosen


def one_core() -> bool:
    """Keeps this process, and every thread it starts, to one processor, so that a speed-up is
    never a second core's; False where the system cannot. Call it before importing NumPy."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return True


class Paired(NamedTuple):
    """Seconds of each run; the i-th of `ours` and of `theirs` ran next to each other."""

    ours: list[float]
    theirs: list[float]

    @property
    def speed(self) -> float:
        """How many times faster we are: the median over the pairs."""
        return statistics.median(t / o for o, t in zip(self.ours, self.theirs, strict=True))


def paired(ours: Callable[[], Any], theirs: Callable[[], Any], pairs: int) -> Paired:
    """Times both in turn, `pairs` times; who goes first alternates; one untimed turn before."""
    ours()
    theirs()
    times: dict[Callable[[], Any], list[float]] = {ours: [], theirs: []}
    for number in range(pairs):
        for work in (ours, theirs) if number % 2 == 0 else (theirs, ours):
            gc.collect()
            start = time.perf_counter()
            work()
            times[work].append(time.perf_counter() - start)
    return Paired(times[ours], times[theirs])


def machine(*packages: str) -> dict[str, Any]:
    """The processor, cores, memory and versions; no host name, no path."""
    facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("feilun", *packages)},
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        facts["memory_gb"] = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30)
    return facts


def finish(
    result: dict[str, Any], chosen: argparse.Namespace, missed_elsewhere: Sequence[str] = ()
) -> int:
    """Prints the result as the last line, saves it when asked; 1 when a limit is not kept.

    `limits` maps a path such as `tfidf_svm.train_speed` within `ratios` to its least value. A
    name without a dot is a figure that the script has checked itself: `missed_elsewhere`."""
    missed = list(missed_elsewhere)
    for path, least in result["limits"].items():
        if "." not in path:
            continue
        peer, ratio = path.split(".")
        if result["ratios"][peer][ratio] < least:
            missed.append(f"{path} is {result['ratios'][peer][ratio]}, below {least}")
    for line in missed:
        print("MISSED:", line)
    if chosen.save:
        RESULTS.mkdir(exist_ok=True)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        script = Path(sys.argv[0]).name
        content = {"command": " ".join([f"benchmarks/{script}", *sys.argv[1:]]), **result}
        path = RESULTS / f"{result['benchmark']}-{today}.json"
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, ensure_ascii=False))
    return 1 if missed else 0


def quiet_run(folder: Path, seed: int = 7) -> LocalRun:
    """The real handle of a stage, with `folder` for all that it keeps: for timing a part alone."""
    return LocalRun(
        "benchmark", seed=seed, root=folder, folder=folder, blobs=Blobs(folder / "blobs")
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
